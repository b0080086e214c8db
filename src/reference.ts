import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'

/**
 * The document at /openapi.json, and /docs, where a person can read it and make calls. Served from here alone; the
 * token that is typed there is not stored.
 */
export async function reference(app: FastifyInstance): Promise<void> {
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())

  await app.register(swaggerUi, {
    routePrefix: '/docs',
    staticCSP:
      "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    theme: { title: 'Mailwright: API reference' },
    uiConfig: {
      layout: 'BaseLayout', // without the bar that loads documents from elsewhere
      deepLinking: true,
      displayRequestDuration: true,
      persistAuthorization: false,
      tryItOutEnabled: true,
    },
  })
}
