import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as later } from 'node:timers/promises'
import Fastify from 'fastify'
import fp from 'fastify-plugin'
import { currentRequest, requestContext } from '../src/request-context.ts'

const noAuth = fp(async () => {}, { name: 'auth' })

test('whatever runs for a request finds it, also after waiting and beside others', async () => {
  const app = Fastify()
  await app.register(noAuth)
  await app.register(requestContext)
  const idBelow = async () => {
    await later()
    return currentRequest()?.id
  }
  app.post('/', async (request) => {
    await later()
    return (await Promise.all([idBelow(), idBelow()])).map((id) => id === request.id)
  })
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => app.inject({ method: 'POST', url: '/', payload: { some: 'body' } })),
  )
  for (const reply of replies) assert.deepEqual(reply.json(), [true, true])
  await app.close()
})

test('outside of requests there is none', () => {
  assert.equal(currentRequest(), undefined)
})
