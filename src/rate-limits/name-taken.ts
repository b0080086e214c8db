import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import type { Db } from '../database.ts'
import { ProblemError } from '../problems.ts'
import { logSecurityEvent } from '../security-events.ts'
import { type Balance, ownerOf, showBalance, tooMany } from './refusal.ts'
import { countNameTaken } from './store.ts'

interface Options {
  db: Db
  limit: number
}

const name = 'name-taken'

/**
 * Whether a name is free is the one thing that a caller can learn about the domains of others, so it learns it only so
 * often. Counted in the database, over all replicas, and only where a name was taken. From the first refusal on every
 * operation that could tell of a taken name is refused until the minute is over, unseen: were the free names still
 * taken, the 429 would tell as much as the 409 that it replaces.
 */
export const nameTakenBudget = fp(
  async (app: FastifyInstance, { db, limit }: Options) => {
    const blockedUntil = new Map<string, number>()

    app.addHook('preHandler', async (request, reply) => {
      if (request.is404 || request.subject.domains === '*' || !tellsOfNames(request.routeOptions.schema))
        return
      const seconds = secondsUntil(blockedUntil.get(ownerOf(request.subject)))
      if (seconds > 0) throw refuse(request, reply, balanceAfter(limit, { count: limit + 1, seconds }))
    })

    app.setErrorHandler(async (error, request, reply) => {
      const { subject } = request
      if (!isNameTaken(error) || !subject || subject.domains === '*') throw error
      const used = await countNameTaken(db, subject)
      const balance = balanceAfter(limit, used)
      if (used.count === limit + 1)
        logSecurityEvent(request, 'names-probed', 'a caller tried many names that are taken')
      if (used.count > limit) block(blockedUntil, ownerOf(subject), used.seconds)
      throw used.count > limit ? refuse(request, reply, balance) : error
    })
  },
  { name: 'name-taken-budget', dependencies: ['auth', 'budgets'], fastify: '5.x' },
)

function isNameTaken(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'name-taken'
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
