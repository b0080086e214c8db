import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/**
 * Lets a stop end as soon as the requests in flight are answered: their connections are not kept alive, since
 * Node closes only those that were idle when the stop began.
 */
export const drain = fp(async (app: FastifyInstance) => {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close')
    done()
  })
})
