import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Metrics } from './registry.ts'

/** Counts every request of the service, those of no route included. */
export const observe = fp(async (app: FastifyInstance, { metrics }: { metrics: Metrics }) => {
  app.decorate('metrics', metrics)
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions, problemCode } = request
    const labels = {
      method,
      route: routeOptions.url ?? 'none',
      status_class: `${Math.trunc(reply.statusCode / 100)}xx`,
    }
    metrics.requests.observe(labels, reply.elapsedTime / 1000)
    if (problemCode) metrics.problems.inc({ code: problemCode })
  })
})
