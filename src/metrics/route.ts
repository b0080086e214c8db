import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type AuthOptions, auth } from '../auth.ts'
import { plainText, responsesFor } from '../responses.ts'
import { refuseUnknownQuery } from '../validation.ts'
import type { Metrics } from './registry.ts'

/** For a scraper that can send a token; one beside the service may use METRICS_PORT instead. */
export const metricsRoute: FastifyPluginAsyncTypebox<{ metrics: Metrics; auth: AuthOptions }> = async (
  app,
  options,
) => {
  const { metrics } = options
  app.addHook('onRoute', refuseUnknownQuery)
  await app.register(auth, options.auth)

  app.get(
    '/metrics',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'getMetrics',
        tags: ['operations'],
        summary: 'Figures for Prometheus',
        description:
          'In its text format. Only for callers with all domains: the figures are of the whole installation. They name no domain and nobody.',
        security: [{ bearer: ['metrics:read'] }],
        response: {
          200: plainText('The figures.'),
          ...responsesFor(['invalid-request', 'unauthenticated', 'insufficient-scope', 'unavailable']),
        },
      },
    },
    async (_request, reply) => {
      reply.type(metrics.contentType).header('cache-control', 'no-store')
      return metrics.text()
    },
  )
}
