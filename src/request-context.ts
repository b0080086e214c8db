import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'

const storage = new AsyncLocalStorage<FastifyRequest>()

/**
 * The request that this code works for, however deep below its handler; undefined in jobs. For what cuts across all
 * operations (who did it, whether it is only tried); what an operation itself needs is passed to it.
 */
export function currentRequest(): FastifyRequest | undefined {
  return storage.getStore()
}

/** After `auth`, so that the subject is known. */
export const requestContext = fp(
  async (app: FastifyInstance) => {
    app.addHook('preHandler', (request, _reply, done) => storage.run(request, done))
  },
  { name: 'request-context', dependencies: ['auth'], fastify: '5.x' },
)
