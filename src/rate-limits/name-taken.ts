import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import type { ProblemCode } from '../catalogue.ts'
import type { Db } from '../database.ts'
import { ProblemError } from '../problems.ts'
import { currentRequest } from '../request-context.ts'
import { logSecurityEvent } from '../security-events.ts'
import { type Balance, ownerOf, showBalance, tooMany } from './refusal.ts'
import { countNamesTaken } from './store.ts'

interface Options {
  db: Db
  limit: number
}

const name = 'name-taken'

declare module 'fastify' {
  interface FastifyRequest {
    /** How many taken names an answer tells of that is no refusal for them. */
    takenNames: number
  }
}

/** For operations that pass over taken names and succeed: their answer tells of them as a refusal would. */
export function noteTakenNames(count: number): void {
  const request = currentRequest()
  if (request) request.takenNames += count
}

/**
 * Whether a name is free is the one thing that a caller can learn about the domains of others, so it learns it only so
 * often. Counted in the database, over all replicas, and only where a name was taken. From the first refusal on every
 * operation that could tell of a taken name is refused until the minute is over, unseen: were the free names still
 * taken, the 429 would tell as much as the 409 that it replaces.
 */
export const nameTakenBudget = fp(
  async (app: FastifyInstance, { db, limit }: Options) => {
    const blockedUntil = new Map<string, number>()

    /** What is left after so many taken names more, and whether they were too many. */
    const spend = async (request: FastifyRequest, names: number): Promise<Balance & { over: boolean }> => {
      const { count, seconds } = await countNamesTaken(db, request.subject, names)
      const over = count > limit
      if (over) block(blockedUntil, ownerOf(request.subject), seconds)
      if (over && count - names <= limit)
        logSecurityEvent(request, 'names-probed', 'a caller tried many names that are taken')
      return { ...balanceAfter(limit, { count, seconds }), over }
    }

    app.decorateRequest('takenNames', 0)
    app.addHook('preHandler', (request, reply, done) => {
      if (request.is404 || !isLimited(request) || !tellsOfNames(request.routeOptions.schema)) return done()
      const seconds = secondsUntil(blockedUntil.get(ownerOf(request.subject)))
      if (seconds > 0) throw refuse(request, reply, balanceAfter(limit, { count: limit + 1, seconds }))
      done()
    })
    app.setErrorHandler(async (error, request, reply) => {
      const names = namesToldBy(error)
      if (names === 0 || !isLimited(request) || !tellsOfNames(request.routeOptions.schema)) throw error
      const { over, ...balance } = await spend(request, names)
      throw over ? refuse(request, reply, balance) : error
    })
    // A trial tells of a free name too, and nobody has to take it for that.
    const spendOne = async (request: FastifyRequest, reply: FastifyReply) => {
      const { over, ...balance } = await spend(request, 1)
      if (over) throw refuse(request, reply.removeHeader('dry-run'), balance)
    }
    app.addHook('preSerialization', (request, reply, payload, done) => {
      const tells = request.dryRun && reply.statusCode < 300 && isLimited(request)
      if (!tells || !tellsOfNames(request.routeOptions.schema)) return done(null, payload)
      return spendOne(request, reply)
    })
    // What is done is done and is answered; the next request is refused.
    app.addHook('onSend', (request, _reply, _payload, done) => {
      if (request.takenNames === 0 || !isLimited(request)) return done()
      return spend(request, request.takenNames).then(() => {})
    })
  },
  { name: 'name-taken-budget', dependencies: ['auth', 'budgets'], fastify: '5.x' },
)

function isLimited({ subject }: FastifyRequest): boolean {
  return subject !== undefined && subject.domains !== '*'
}

/** Refusals that come only where the name is free: a caller that names no password asks for nothing else. */
export const freeNames: ReadonlySet<string> = new Set<ProblemCode>([
  'password-required',
  'password-too-weak',
  'mailbox-limit-reached',
])

/**
 * Of how many names a refusal tells whether they are taken. Each counts before it is answered, so that many requests at
 * once learn no more than one after the other.
 */
function namesToldBy(error: unknown): number {
  if (!(error instanceof ProblemError)) return 0
  if (error.code === name) return error.errors?.length || 1
  return freeNames.has(error.code) ? 1 : 0
}

/** Whether the operation declares that it may answer `name-taken`. */
function tellsOfNames(schema: FastifySchema | undefined): boolean {
  const responses = schema?.response as
    | Record<string, { content?: Record<string, { examples?: object }> }>
    | undefined
  return Object.hasOwn(responses?.['409']?.content?.['application/problem+json']?.examples ?? {}, name)
}

function refuse(request: FastifyRequest, reply: FastifyReply, balance: Balance): ProblemError {
  showBalance(reply, balance)
  return tooMany(request, balance, 'names that are taken')
}

function balanceAfter(limit: number, { count, seconds }: { count: number; seconds: number }): Balance {
  return { name, limit, remaining: Math.max(0, limit - count), seconds }
}

function secondsUntil(time: number | undefined): number {
  return time === undefined ? 0 : Math.ceil((time - Date.now()) / 1000)
}

function block(blockedUntil: Map<string, number>, owner: string, seconds: number): void {
  for (const [other, time] of blockedUntil) if (secondsUntil(time) <= 0) blockedUntil.delete(other)
  blockedUntil.set(owner, Date.now() + seconds * 1000)
}
