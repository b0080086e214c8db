import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The body may be a large file from far away. */
    slowBody?: boolean
  }
}

/** For a client to send its request; a password may then wait 30 s for its turn. */
const bodyMs = 60_000
/** Node's own limit for any request (`requestTimeout`), so that a large file has its time. */
export const slowBodyMs = 60 * 60_000

/** Node has one limit for all requests; those that are not files get the shorter one here. */
export const slowBodies = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', (request, reply, done) => {
    const { raw } = request
    const { 'content-length': length = '0', 'transfer-encoding': chunked } = raw.headers
    if (chunked === undefined && length === '0') return done()
    const limit = () => {
      const timer = setTimeout(() => raw.complete || raw.destroy(), bodyMs).unref()
      raw.once('close', () => clearTimeout(timer))
    }
    if (request.routeOptions.config?.slowBody)
      reply.raw.once('finish', limit) // what is still sent then is for nobody
    else limit()
    done()
  })
})
