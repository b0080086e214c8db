import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import pg from 'pg'
import { catalogue, type ProblemCode } from './catalogue.ts'
import { ProblemError, problem } from './problems.ts'
import { logRequest } from './request-log.ts'
import type { Problem } from './responses.ts'
import { toProblemParts } from './validation.ts'

/** Renders everything that goes wrong as application/problem+json (RFC 9457), in one place. */
export const problemDetails = fp(async (app: FastifyInstance) => {
  const routes = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method }) => {
    const methods = routes.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    routes.set(url, methods)
  })

  app.setErrorHandler((error: FastifyError, request, reply) =>
    sendProblem(toProblem(error), error, request, reply),
  )

  app.setNotFoundHandler((request, reply) => {
    const methods = methodsOf(routes, request.url)
    if (methods.length === 0) return sendProblem(problem('not-found'), undefined, request, reply)
    reply.header('allow', methods.join(', '))
    return sendProblem(problem('method-not-allowed'), undefined, request, reply)
  })
})

/** A path that the router cannot decode reaches no hook and no handler (`frameworkErrors`). */
export function refusePath(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-request-id', request.id)
  request.server.metrics?.problems.inc({ code: 'invalid-request' }) // no hook runs for it
  const detail = 'The path is not percent-encoded properly (RFC 3986 §2.1).'
  sendProblem(problem('invalid-request', { detail, cause: error }), error, request, reply)
  reply.raw.once('close', () => logRequest({ request, reply, aborted: !reply.raw.writableFinished }))
}

function methodsOf(routes: Map<string, Set<string>>, url: string): string[] {
  const path = (url.split('?', 1)[0] ?? '').split('/')
  const same = [...routes].filter(([pattern]) => {
    const parts = pattern.split('/')
    return parts.length === path.length && parts.every((part, i) => part.startsWith(':') || part === path[i])
  })
  return [...new Set(same.flatMap(([, methods]) => [...methods]))].sort()
}

function sendProblem(answer: ProblemError, cause: unknown, request: FastifyRequest, reply: FastifyReply) {
  const { status } = catalogue[answer.code]
  if (status >= 500)
    request.log[status === 500 ? 'error' : 'warn'](
      { err: withoutValues(cause), code: answer.code },
      answer.message,
    )
  if (answer.retryAfterSeconds !== undefined) reply.header('retry-after', answer.retryAfterSeconds)
  request.problemCode = answer.code
  reply.code(status).type('application/problem+json')
  // serialised here: an answer whose status the route does not declare would go out unchecked otherwise
  return reply.serializer(JSON.stringify).send(toBody(answer, request.id))
}

/** PostgreSQL repeats the row it refuses in `detail`, and parameters in `where`: a verifier may be among them. */
function withoutValues(error: unknown): unknown {
  if (error instanceof pg.DatabaseError) Object.assign(error, { detail: undefined, where: undefined })
  return error
}

export function toBody(answer: ProblemError, requestId: string): Problem {
  const { code, detail, errors, conflict } = answer
  return {
    type: `/problems/${code}`,
    title: catalogue[code].title,
    status: catalogue[code].status,
    ...(detail !== undefined && { detail }),
    instance: `urn:uuid:${requestId}`,
    ...(errors && { errors }),
    ...(conflict && { conflict }),
  }
}

export function toProblem(error: FastifyError & { constraint?: string }): ProblemError {
  if (error instanceof ProblemError) return error
  if (error.validation) {
    return problem('invalid-request', { errors: toProblemParts(error.validation, error.validationContext) })
  }
  const code =
    byConstraint[error.constraint ?? ''] ??
    (error.statusCode === undefined ? databaseProblem(error) : undefined) ?? // Fastify's own: the client has gone
    byFrameworkCode[error.code]
  if (code)
    return problem(code, { cause: error, ...(catalogue[code].status === 503 && { retryAfterSeconds: 2 }) })
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
    return problem('invalid-request', { detail: error.message }) // Fastify's own words: malformed JSON, bad URL, …
  }
  return problem('internal-error', { cause: error })
}

const byFrameworkCode: Record<string, ProblemCode> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'content-too-large',
}

/** Constraints of migrations/ that mean the same wherever they are violated; the stores explain the others. */
export const byConstraint: Record<string, ProblemCode> = {
  domains_pkey: 'domain-exists',
  accounts_pkey: 'account-exists',
  addresses_pkey: 'mailbox-exists',
  addresses_name_key: 'name-taken',
  mailboxes_pkey: 'name-taken',
  accounts_login_period_check: 'invalid-login-period',
}

/** Gives the violation of these constraints the meaning it has in this place. */
export async function problemOnViolation<T>(
  work: Promise<T>,
  codes: Record<string, ProblemCode>,
): Promise<T> {
  return work.catch((error: { constraint?: string }) => {
    const code = codes[error.constraint ?? '']
    throw code ? problem(code, { cause: error }) : error
  })
}

/** SQLSTATEs (PostgreSQL, appendix A) and socket errors that pass by themselves. */
function databaseProblem({ code, message }: { code?: string; message: string }): ProblemCode | undefined {
  if (code !== undefined && tooBusy.has(code)) return 'busy'
  if (code !== undefined && (away.has(code) || code.startsWith('08'))) return 'unavailable'
  return awayMessages.some((text) => message.startsWith(text)) ? 'unavailable' : undefined
}

const tooBusy = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
  '53300', // too_many_connections
  '55P03', // lock_not_available
  '57014', // query_canceled: statement_timeout
])
const away = new Set([
  '25P03', // idle_in_transaction_session_timeout
  '25006', // read_only_sql_transaction: a standby, in the middle of a failover
  '53100', // disk_full
  '53200', // out_of_memory
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT', // the Unix socket is not there
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])
/** What pg says without a code. */
const awayMessages = [
  'Connection terminated',
  'timeout exceeded when trying to connect',
  'Client has encountered a connection error',
  'Client was closed',
]

declare module 'fastify' {
  interface FastifyRequest {
    /** For the request's line in the log. */
    problemCode?: ProblemCode
  }
}
