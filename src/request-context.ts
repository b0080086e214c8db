import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Subject } from './subject.ts'
import type { Overdraw } from './tokens/limits.ts'

const storage = new AsyncLocalStorage<FastifyRequest>()

/**
 * The request that this code works for, however deep below its handler; undefined in jobs. For what cuts across all
 * operations (who did it, whether it is only tried); what an operation itself needs is passed to it.
 */
export function currentRequest(): FastifyRequest | undefined {
  return storage.getStore()
}

/** For whom something is done, as the audit writes it down and limits of tokens count it. */
export interface Actor {
  subject: Pick<Subject, 'id' | 'issuer' | 'tokenId' | 'token'>
  ip: string
  id: string
  /** What was wanted of a limit of the token that did not have as much left. */
  overdraw?: Overdraw | undefined
}

const actors = new AsyncLocalStorage<Actor>()

/** What a job does for whoever asked for it in an earlier request. */
export function actFor<T>(actor: Actor, work: () => Promise<T>): Promise<T> {
  return actors.run(actor, work)
}

export function currentActor(): Actor | undefined {
  return actors.getStore() ?? currentRequest()
}

/** After `auth`, so that the subject is known. */
export const requestContext = fp(
  async (app: FastifyInstance) => {
    app.addHook('preHandler', (request, _reply, done) => storage.run(request, done))
  },
  { name: 'request-context', dependencies: ['auth'], fastify: '5.x' },
)
