import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { problemDetails } from '../../src/problem-details.ts'
import { problem } from '../../src/problems.ts'
import { budgets } from '../../src/rate-limits/budgets.ts'
import { nameTakenBudget, noteTakenNames } from '../../src/rate-limits/name-taken.ts'
import { requestContext } from '../../src/request-context.ts'
import { problemSchemas, responsesFor } from '../../src/responses.ts'
import type { Subject } from '../../src/subject.ts'
import { startService } from '../support/service.ts'

// Operations that tell of several names at once.

const { db } = await startService()
const limit = 5

/** Whoever the header names calls, limited to one domain. */
const anybody = fp(
  async (app) => {
    app.decorateRequest('subject')
    app.addHook('onRequest', async (request) => {
      request.subject = {
        id: String(request.headers.from),
        issuer: 'test',
        domains: ['own.jp'],
      } as unknown as Subject
    })
  },
  { name: 'auth' },
)

const app = Fastify()
after(() => app.close())
for (const schema of problemSchemas) app.addSchema(schema)
await app.register(problemDetails)
await app.register(async (api) => {
  for (const plugin of [anybody, requestContext]) await api.register(plugin)
  await api.register(budgets, {})
  await api.register(nameTakenBudget, { db, limit })
  const schema = { response: responsesFor(['name-taken']) }
  api.post('/picked', { schema }, async () => {
    noteTakenNames(2)
    return 'the third was free'
  })
  api.post('/refused', { schema }, async () => {
    const errors = ['0', '1', '2'].map((i) => ({ pointer: `/names/${i}`, detail: 'taken' }))
    throw problem('name-taken', { errors })
  })
})

async function post(from: string, url: string): Promise<number> {
  return (await app.inject({ method: 'POST', url, headers: { from } })).statusCode
}

test('a success that tells of taken names counts them, and is answered', async () => {
  const statuses = []
  for (let i = 0; i < 4; i++) statuses.push(await post('picker', '/picked'))
  assert.deepEqual(statuses, [200, 200, 200, 429])
})

test('a refusal for several names counts each', async () => {
  assert.deepEqual([await post('lister', '/refused'), await post('lister', '/refused')], [409, 429])
  assert.equal(await post('lister', '/picked'), 429)
})
