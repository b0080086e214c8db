import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { buildApp } from '../../src/app.ts'
import { createIssuer } from '../../src/issuer.ts'
import { scopes } from '../../src/scopes.ts'
import { createClient, outcome } from '../support/client.ts'
import { startIdentityProvider } from '../support/identity-provider.ts'
import { startService } from '../support/service.ts'
import { makeToken, untilNextSecond } from '../support/tokens.ts'

// Callers of an identity provider.

const service = await startService()
const provider = await startIdentityProvider()
const app = await buildApp({
  db: service.db,
  derivations: service.derivations,
  auth: {
    keys: service.keys,
    issuer: createIssuer({ issuer: provider.issuer, audience: 'mailwright' }),
    domainsClaim: 'mailwright_domains',
  },
})
after(async () => {
  await app.close()
  await provider.stop()
})
const url = await app.listen({ port: 0, host: '127.0.0.1' })
const claims = { scope: scopes.join(' '), mailwright_domains: ['*'] }
const caller = async (more: object = {}) => createClient(url, await provider.sign({ ...claims, ...more }))

test('make tokens that have no parent and outlive their own', async () => {
  const { client, id, expiresAt } = await makeToken(url, await caller())
  const { body } = await (await caller()).get(`/v1/tokens/${id}`)
  assert.deepEqual([body.parent, body.created_by], [null, 'hr-system'])
  assert.ok(Date.parse(expiresAt) - Date.now() > 89 * 24 * 3600 * 1000)
  assert.equal(outcome(await client.get('/v1/domains')), '200')
})

test('are not taken for one of the tokens here, whatever they claim', async () => {
  const { id } = await makeToken(url, await caller())
  const claiming = await caller({ revocable: true, jti: id, scope: 'domains:read', mailwright_domains: [] })
  assert.deepEqual((await claiming.get('/v1/domains')).body.items, [])
  assert.equal(outcome(await claiming.get('/v1/tokens')), '403 insufficient-scope')
  const unknown = await caller({ revocable: true, jti: 'x' })
  assert.equal(outcome(await unknown.get('/v1/domains')), '200')
})

test('are refused when their tokens are older than tokens_not_before, or do not say', async () => {
  const undated = await caller({ iat: undefined })
  assert.equal(outcome(await undated.get('/v1/domains')), '200')
  const old = await caller()
  await untilNextSecond() // so that the second of its issue is over
  const set = await old.patch('/v1/server', { tokens_not_before: new Date().toISOString() })
  assert.equal(outcome(set), '200')
  for (const client of [old, undated]) {
    const refused = await client.get('/v1/domains')
    assert.equal(outcome(refused), '401 unauthenticated')
    assert.match(refused.body.detail, /tokens_not_before/)
  }
  await untilNextSecond()
  assert.equal(outcome(await (await caller()).get('/v1/domains')), '200')
})
