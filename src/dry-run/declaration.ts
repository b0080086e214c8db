import type { FastifyInstance, FastifySchema, HTTPMethods, RouteHandlerMethod } from 'fastify'
import fp from 'fastify-plugin'
import Type, { type TSchema } from 'typebox'
import { withHeader } from '../responses.ts'
import { defaulted } from '../schemas.ts'
import { tryOut } from './trial.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Only tried: nothing of it is kept. */
    dryRun: boolean
  }
  interface FastifyContextConfig {
    /** The operation has a `dry_run` of its own. */
    triesItself?: boolean
  }
}

const parameter = 'dry_run'

const DryRun = defaulted(
  Type.Boolean({
    default: false,
    description:
      'true: only try. The status and the body, or the problem, are those that the request would get now, and nothing is changed; the answer has `dry-run: true`, and neither ETag nor Location. Ids and times in it are those of the trial; `secret_omitted` stands in place of a password or token that would be made.',
  }),
)

interface Route {
  method: HTTPMethods | HTTPMethods[]
  config?: { idempotencyKey?: boolean; triesItself?: boolean } | undefined
}

const writing = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/** Not those that change nothing: there is nothing to try, and what limits their use has to count. */
function canBeTried({ method, config }: Route): boolean {
  return (
    [method].flat().some((one) => writing.has(one)) &&
    config?.idempotencyKey !== false &&
    !config?.triesItself
  )
}

/**
 * Every operation of the scope it is registered in that changes something can be tried with `dry_run=true`. Its handler
 * knows nothing of that: whatever goes through the database is undone (src/dry-run/driver.ts). What a handler does in
 * another way, in memory or in files, has to look at `request.dryRun`.
 */
export const dryRun = fp(
  async (app: FastifyInstance) => {
    app.decorateRequest('dryRun', false)
    app.addHook('onRoute', (route) => {
      if (!canBeTried(route)) return
      route.schema = declare(route.schema)
      route.handler = trying(route.handler)
    })
    app.addHook('preHandler', (request, _reply, done) => {
      const query = request.query as Record<string, unknown>
      // its default is in the query of each operation that declares it
      if (!(parameter in query) || request.is404 || !canBeTried(request.routeOptions)) return done()
      const { [parameter]: wanted, ...others } = query
      request.dryRun = wanted === true
      request.query = others // handlers know only their own
      done()
    })
  },
  { name: 'dry-run', dependencies: ['auth'], fastify: '5.x' },
)

function declare(schema: FastifySchema = {}): FastifySchema {
  const querystring = schema.querystring as { properties?: Record<string, TSchema> } | undefined
  return {
    ...schema,
    querystring: {
      type: 'object',
      additionalProperties: false,
      ...querystring,
      properties: { ...querystring?.properties, [parameter]: DryRun },
    },
    response: withHeader(schema.response as Record<number, TSchema>, 'dry-run'),
  }
}

function trying(handler: RouteHandlerMethod): RouteHandlerMethod {
  return function (request, reply) {
    if (!request.dryRun) return handler.call(this, request, reply)
    reply.header('dry-run', 'true')
    return tryOut(async () => handler.call(this, request, reply)).then((answer) => {
      // of a version and a place that there will never be, unless it is an earlier answer that is repeated
      if (!reply.hasHeader('idempotency-replayed')) reply.removeHeader('etag').removeHeader('location')
      return withoutSecrets(answer)
    })
  }
}

/** Members that an answer shows once. */
const secrets = ['generated_password', 'sealed_password', 'token']

/** What was made is kept nowhere: whoever showed it to a person would mislead. */
function withoutSecrets(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null) return answer
  const isShown = ([name, value]: [string, unknown]) => !secrets.includes(name) || value === undefined
  const members = Object.entries(answer)
  const shown = members.filter(isShown)
  return shown.length === members.length ? answer : { ...Object.fromEntries(shown), secret_omitted: true }
}
