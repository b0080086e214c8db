import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { buildApp } from '../../src/app.ts'
import { createClient, outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'
import { makeToken } from '../support/tokens.ts'

const service = await startService()
const admin = await service.as()
const path = '/v1/tokens'

async function askFrom(remoteAddress: string, token: string) {
  const headers = { authorization: `Bearer ${token}` }
  const {
    statusCode,
    body,
    headers: answered,
  } = await service.app.inject({ url: '/v1/domains', headers, remoteAddress })
  return { status: statusCode, detail: JSON.parse(body).detail, challenge: answered['www-authenticate'] }
}

test('a token is good from the addresses that it is for, and from no other', async () => {
  const allowed_ips = ['192.0.2.0/28', '2001:DB8::/32', '203.0.113.7', '203.0.113.7']
  const made = await admin.post(path, { label: 'A job', scopes: ['domains:read'], allowed_ips })
  assert.deepEqual(made.body.allowed_ips, ['192.0.2.0/28', '2001:db8::/32', '203.0.113.7/32'])
  const { id, token } = made.body
  for (const good of ['192.0.2.1', '192.0.2.15', '::ffff:192.0.2.1', '203.0.113.7', '2001:db8:1::5'])
    assert.equal((await askFrom(good, token)).status, 200, good)
  for (const bad of ['192.0.2.16', '127.0.0.1', '2001:db9::1', '::1', '::ffff:203.0.113.8']) {
    const { status, detail, challenge } = await askFrom(bad, token)
    assert.equal(status, 401, bad)
    assert.equal(detail, 'The token is not for the address that the request comes from.')
    assert.equal(challenge, 'Bearer realm="mailwright", error="invalid_token"')
    const line = service.log
      .map((text) => JSON.parse(text))
      .findLast(({ event }) => event === 'wrong-address')
    assert.deepEqual([line.token_id, line.address], [id, bad])
  }
})

test('behind a trusted proxy the address is the one that it forwards, else what is forwarded does not count', async () => {
  const { client } = await makeToken(service.url, admin, { allowed_ips: ['192.0.2.1'] })
  const app = await buildApp({
    db: service.db,
    derivations: service.derivations,
    auth: { keys: service.keys, domainsClaim: 'mailwright_domains' },
    fastify: { trustProxy: ['127.0.0.1'] },
  })
  after(() => app.close())
  const proxied = createClient(await app.listen({ port: 0, host: '127.0.0.1' }), client.token)
  const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
  assert.equal(outcome(await proxied.get('/v1/domains', from('192.0.2.1'))), '200')
  assert.equal(outcome(await proxied.get('/v1/domains', from('192.0.2.2'))), '401 unauthenticated')
  assert.equal(outcome(await proxied.get('/v1/domains', from('192.0.2.1, 192.0.2.2'))), '401 unauthenticated')
  assert.equal(outcome(await client.get('/v1/domains', from('192.0.2.1'))), '401 unauthenticated')
})

test('what is made with it is for no other addresses', async () => {
  const scopes = ['tokens:write', 'domains:read']
  const { client } = await makeToken(service.url, admin, {
    scopes,
    allowed_ips: ['127.0.0.0/8', '192.0.2.0/28'],
  })
  const make = (wish: object) => client.post(path, { label: 'A child', scopes, ...wish })
  assert.deepEqual((await make({})).body.allowed_ips, ['127.0.0.0/8', '192.0.2.0/28'])
  const some = ['127.0.0.1', '192.0.2.8/29']
  assert.deepEqual((await make({ allowed_ips: some })).body.allowed_ips, ['127.0.0.1/32', '192.0.2.8/29'])
  for (const wider of ['192.0.2.0/27', '192.0.2.16', '0.0.0.0/0', '::1', '::/0']) {
    const refused = await make({ allowed_ips: ['127.0.0.1', wider] })
    assert.equal(outcome(refused), '422 invalid-network', wider)
    assert.equal(refused.body.errors[0].pointer, '/allowed_ips/1')
  }
})
