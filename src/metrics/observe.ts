import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { onRequestEnd } from '../request-end.ts'
import type { Metrics } from './registry.ts'

/** Counts every request of the service, those of no route included. */
export const observe = fp(async (app: FastifyInstance, { metrics }: { metrics: Metrics }) => {
  app.decorate('metrics', metrics)
  onRequestEnd(app, ({ request, reply }) => {
    const { method, routeOptions, problemCode } = request
    const status_class = `${Math.trunc(reply.statusCode / 100)}xx`
    metrics.requests.observe(
      { method, route: routeOptions.url ?? 'none', status_class },
      reply.elapsedTime / 1000,
    )
    if (problemCode) metrics.problems.inc({ code: problemCode })
  })
})
