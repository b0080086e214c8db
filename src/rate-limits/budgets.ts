import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { currentRequest } from '../request-context.ts'
import { withHeader } from '../responses.ts'
import { logSecurityEvent } from '../security-events.ts'
import type { WorkQueue } from '../work-queue.ts'
import { type RateLimits, windowSeconds } from './limits.ts'
import { ownerOf, showBalance, tooMany } from './refusal.ts'

/** Counts against a budget, or throws 429. */
type Charge = (request: FastifyRequest) => Promise<void>

declare module 'fastify' {
  interface FastifyInstance {
    /** The same queue, where each turn counts against the caller's budget of passwords. */
    chargePasswords(queue: WorkQueue): WorkQueue
  }
  interface FastifyRequest {
    /** Where a budget that is charged below the handler shows its balance. */
    budgetReply: FastifyReply | undefined
  }
}

const what = { reads: 'reading requests', writes: 'writing requests', passwords: 'passwords' }
const burst = 60 // refusals with 409 in a minute that are worth a look

/**
 * Budgets of each caller, in the memory of this replica: for reading and for writing requests, and for the hashing of
 * passwords. After `auth` and `request-context`.
 */
export const budgets = fp(
  async (app: FastifyInstance, { reads, writes, passwords }: RateLimits) => {
    await app.register(rateLimit, { global: false, keyGenerator: ({ subject }) => ownerOf(subject) })
    const charges = {
      read: budget(app, 'reads', reads),
      write: budget(app, 'writes', writes),
      password: budget(app, 'passwords', passwords),
    }
    app.addHook('onRoute', (route) => {
      if (!route.schema?.response) return
      const responses = withHeader(route.schema.response as Responses, 'ratelimit')
      route.schema = { ...route.schema, response: withHeader(responses, 'ratelimit-policy') }
    })
    app.decorateRequest('budgetReply')
    app.addHook('onRequest', (request, reply, done) => {
      if (request.is404) return done()
      request.budgetReply = reply
      const charge = isRead(request) ? charges.read : charges.write
      if (!charge) return done()
      return charge(request)
    })
    app.decorate('chargePasswords', (queue) => charging(queue, charges.password))
    watchConflicts(app)
  },
  { name: 'budgets', dependencies: ['auth', 'request-context'], fastify: '5.x' },
)

type Responses = Parameters<typeof withHeader>[0]

function isRead({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD'
}

function budget(
  app: FastifyInstance,
  name: keyof typeof what,
  limit: number | undefined,
): Charge | undefined {
  if (limit === undefined) return undefined
  const count = app.createRateLimit({ max: limit, timeWindow: windowSeconds * 1000 })
  return async (request) => {
    const state = await count(request)
    if (state.isAllowed) return
    const balance = { name, limit, remaining: state.remaining, seconds: state.ttlInSeconds }
    if (request.budgetReply) showBalance(request.budgetReply, balance)
    if (state.isExceeded) throw tooMany(request, balance, what[name])
  }
}

/** Charged when a password is really about to be hashed: what is refused before, or only repeated, costs nothing. */
function charging(queue: WorkQueue, charge: Charge | undefined): WorkQueue {
  if (!charge) return queue
  return {
    async run(work, signal) {
      const request = currentRequest()
      if (request) await charge(request)
      return queue.run(work, signal)
    },
    get running() {
      return queue.running
    },
    get waiting() {
      return queue.waiting
    },
    get refused() {
      return queue.refused
    },
  }
}

/** Somebody may be trying out names, or a job may be lost in a loop: told once a minute. */
function watchConflicts(app: FastifyInstance): void {
  const count = app.createRateLimit({ max: burst, timeWindow: windowSeconds * 1000 })
  const tell = async (request: FastifyRequest) => {
    const state = await count(request)
    if (state.isAllowed || state.remaining > 0 || state.isExceeded) return
    logSecurityEvent(request, 'conflict-burst', `a caller had ${burst} conflicts within a minute`)
  }
  app.addHook('onResponse', (request, reply, done) => {
    if (reply.statusCode !== 409 || !request.subject) return done()
    return tell(request)
  })
}
