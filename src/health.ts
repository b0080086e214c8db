import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Db } from './database.ts'
import { pendingMigrations } from './migrations.ts'
import { problem } from './problems.ts'
import { answer, responsesFor, unspecificProblem } from './responses.ts'
import { strict } from './schemas.ts'

export const Health = strict({ status: Type.Literal('ok') }, { $id: 'Health', examples: [{ status: 'ok' }] })

export const health: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/livez',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'getLiveness',
        tags: ['operations'],
        summary: 'Whether the process answers at all',
        security: [],
        response: { 200: answer(Health, 'It does.'), '4xx': unspecificProblem },
      },
    },
    async () => ({ status: 'ok' as const }),
  )

  app.get(
    '/readyz',
    {
      logLevel: 'warn',
      schema: {
        operationId: 'getReadiness',
        tags: ['operations'],
        summary: 'Whether it can serve: the database answers and its schema is current',
        security: [],
        response: {
          200: answer(Health, 'It can.'),
          '4xx': unspecificProblem,
          ...responsesFor(['unavailable']),
        },
      },
    },
    async () => {
      const pending = await pendingMigrations(db).catch(unavailable)
      if (pending.length === 0) return { status: 'ok' as const }
      const detail = `The database lacks ${pending.length} migrations.`
      throw problem('unavailable', { detail, retryAfterSeconds: 5 })
    },
  )
}

/** Whatever stands between the service and its database: it cannot serve, and may be able to in a moment. */
function unavailable(cause: Error): never {
  throw problem('unavailable', { cause, retryAfterSeconds: 5 })
}
