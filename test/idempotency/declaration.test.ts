import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { idempotency } from '../../src/idempotency/declaration.ts'
import type { InstallationKeys } from '../../src/keys.ts'
import { answer, problemSchemas } from '../../src/responses.ts'
import { strict } from '../../src/schemas.ts'
import { document } from '../support/contract.ts'
import { operations } from '../support/operations.ts'

const Checked = strict({}, { $id: 'Checked' })

interface Parameter {
  name: string
  in: string
}

/** A POST because it carries a password; it changes nothing that could be repeated. */
const withoutKey = ['checkPassword']

test('every POST under /v1 takes the header and declares what may come of it, and no other operation does', () => {
  for (const operation of operations) {
    const { parameters = [], responses } = operation as typeof operation & { parameters?: Parameter[] }
    const takes = parameters.some(({ name, in: place }) => place === 'header' && name === 'idempotency-key')
    assert.equal(
      takes,
      operation.method === 'post' &&
        operation.path.startsWith('/v1/') &&
        !withoutKey.includes(operation.operationId),
      operation.operationId,
    )
    const codes = Object.values(responses).flatMap(({ content }) =>
      Object.keys(content?.['application/problem+json']?.examples ?? {}),
    )
    for (const code of ['idempotency-key-in-use', 'idempotency-key-reused'])
      assert.equal(codes.includes(code), takes, `${operation.operationId} ${code}`)
    for (const [status, { headers = {} }] of Object.entries(responses)) {
      const declared = Object.hasOwn(headers, 'idempotency-replayed')
      assert.equal(declared, takes && status < '3', `${operation.operationId} ${status}`)
    }
  }
})

test('the text of the document says what a key does', () => {
  const { info } = document as unknown as { info: { description: string } }
  assert.match(info.description, /`Idempotency-Key`/)
})

test('a route may say that it takes none', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fp(async (scope) => void scope.decorateRequest('subject'), { name: 'auth' }))
  await app.register(idempotency, { keys: {} as InstallationKeys })
  for (const schema of [...problemSchemas, Checked]) app.addSchema(schema)
  const schema = { response: { 200: answer(Checked, 'Checked.') } }
  app.post('/check', { schema, config: { idempotencyKey: false } }, async () => ({}))
  app.post('/create', { schema }, async () => ({}))
  const statuses = ['/check', '/create'].map(async (url) => {
    const { statusCode } = await app.inject({ method: 'POST', url, headers: { 'idempotency-key': '""' } })
    return statusCode
  })
  assert.deepEqual(await Promise.all(statuses), [200, 500])
})
