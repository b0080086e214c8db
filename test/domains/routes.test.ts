import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

test('creates a domain and gives it back', async () => {
  const created = await admin.post('/v1/domains', { name: 'Example.JP.' })
  assert.equal(created.status, 201)
  assert.equal(created.body.name, 'example.jp')
  assert.equal(created.headers.get('location'), '/v1/domains/example.jp')
  const got = await admin.get('/v1/domains/EXAMPLE.jp')
  assert.deepEqual(got.body, created.body)
  assert.equal(got.etag, created.etag)
})

test('refuses a second domain of the same name', async () => {
  await admin.post('/v1/domains', { name: 'twice.jp' })
  const again = await admin.post('/v1/domains', { name: 'TWICE.jp.' })
  assert.equal(outcome(again), '409 domain-exists')
  assert.deepEqual(again.body.conflict, { kind: 'domain', address: 'twice.jp' })
})
