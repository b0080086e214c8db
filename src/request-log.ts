import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Ended, onRequestEnd } from './request-end.ts'

const harmlessId = /^[A-Za-z0-9._-]{1,64}$/

/** One line for each request: who did what, with what outcome. Never a body, a query or an address of a person. */
export const requestLog = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff')
    done()
  })

  onRequestEnd(app, logRequest)
})

/** A path that the router cannot decode meets no hook. */
export function logRequest({ request, reply, aborted }: Ended): void {
  const { method, subject, problemCode } = request
  request.log.info(
    {
      method,
      route: request.routeOptions?.url ?? 'none',
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      address: request.ip,
      ...(subject && { subject: subject.id, token: subject.tokenId }),
      ...(reply.hasHeader('idempotency-replayed') && { replayed: true }),
      ...(request.dryRun && { dry_run: true }),
      ...(problemCode && { problem: problemCode }),
      ...(aborted && { aborted }),
      ...clientId(request),
    },
    'request',
  )
}

function clientId({ headers }: FastifyRequest) {
  const theirs = headers['x-request-id']
  return typeof theirs === 'string' && harmlessId.test(theirs) && { client_request_id: theirs }
}
