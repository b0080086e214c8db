import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

const harmlessId = /^[A-Za-z0-9._-]{1,64}$/

/** One line for each request: who did what, with what outcome. Never a body, a query or an address of a person. */
export const requestLog = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff')
  })

  app.addHook('onResponse', async (request, reply) => {
    const theirs = request.headers['x-request-id']
    request.log.info(
      {
        method: request.method,
        route: request.routeOptions.url ?? 'none',
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        address: request.ip,
        ...(request.subject && { subject: request.subject.id, token: request.subject.tokenId }),
        ...(reply.hasHeader('idempotency-replayed') && { replayed: true }),
        ...(request.dryRun && { dry_run: true }),
        ...(request.problemCode && { problem: request.problemCode }),
        ...(typeof theirs === 'string' && harmlessId.test(theirs) && { client_request_id: theirs }),
      },
      'request',
    )
  })
})
