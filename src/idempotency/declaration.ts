import type { FastifyInstance, FastifySchema, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import Type, { type TSchema } from 'typebox'
import type { InstallationKeys } from '../keys.ts'
import { withHeader, withProblems } from '../responses.ts'
import { header, type IdempotencyKey, maxHeaderLength, readKey } from './key.ts'

declare module 'fastify' {
  interface FastifyRequest {
    idempotencyKey: IdempotencyKey | undefined
  }
  interface FastifyContextConfig {
    /** false: a POST that changes nothing, so that its answer is not to be kept. */
    idempotencyKey?: boolean
  }
}

const Header = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: maxHeaderLength,
    description:
      'A text of your choice, new for each thing to be done (a UUID is fine): 1 to 255 printable ASCII characters, as it is or as a quoted string. For 24 hours the same request under it is not done again but answered as the first time, with `idempotency-replayed: true`, and with `secret_omitted` in place of a generated password or token. Only answers below 400 are kept. See draft-ietf-httpapi-idempotency-key-header.',
  }),
)

interface Route {
  method: HTTPMethods | HTTPMethods[]
  config?: { idempotencyKey?: boolean } | undefined
}

/**
 * Every POST of the scope it is registered in takes an Idempotency-Key, is documented so, and has to answer through
 * `answerOnce`. After `auth`, since a key belongs to a subject.
 */
export const idempotency = fp(
  async (app: FastifyInstance, { keys }: { keys: InstallationKeys }) => {
    app.decorateRequest('idempotencyKey')
    app.addHook('onRoute', (route) => {
      if (takesKey(route)) route.schema = declare(route.schema)
    })
    app.addHook('preHandler', (request, _reply, done) => {
      if (!request.is404 && takesKey(request.routeOptions)) request.idempotencyKey = readKey(request, keys)
      done()
    })
  },
  { name: 'idempotency', dependencies: ['auth'], fastify: '5.x' },
)

function takesKey({ method, config }: Route): boolean {
  return [method].flat().includes('POST') && config?.idempotencyKey !== false
}

function declare(schema: FastifySchema = {}): FastifySchema {
  const { properties } = (schema.headers ?? {}) as { properties?: Record<string, TSchema> }
  const responses = withHeader(schema.response as Record<number, TSchema>, 'idempotency-replayed')
  return {
    ...schema,
    headers: Type.Object({ ...properties, [header]: Header }),
    response: withProblems(responses, 'idempotency-key-in-use', 'idempotency-key-reused'),
  }
}
