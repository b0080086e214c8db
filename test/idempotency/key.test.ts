import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { before, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const { admin } = service
const client = await service.as()

before(() => client.post('/v1/domains', { name: 'example.jp' }))

let serial = 0
const newBody = () => ({ name: `key${++serial}.example` })

const good: [string, string, string][] = [
  ['a UUID', '8e03978e-40d5-43e8-bc93-6894a57f9324', '8e03978e-40d5-43e8-bc93-6894a57f9324'],
  ['a quoted string', '"8e03978e-40d5"', '8e03978e-40d5'],
  ['one character', 'k', 'k'],
  ['all that is printable', '!#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ "', '!#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~ "'],
  ['spaces within', 'order 17, line 3', 'order 17, line 3'],
  ['spaces within quotation marks', '" order 17 "', ' order 17 '],
  ['escapes', '"a\\"b\\\\c"', 'a"b\\c'],
  ['255 characters', 'k'.repeat(255), 'k'.repeat(255)],
  ['255 escaped ones', `"${'\\"'.repeat(255)}"`, '"'.repeat(255)],
]

for (const [what, sent, kept] of good) {
  test(`takes as a key: ${what}`, async () => {
    await admin.query('delete from app.idempotency_keys')
    const reply = await client.post('/v1/domains', newBody(), { headers: { 'idempotency-key': sent } })
    assert.equal(outcome(reply), '201')
    const { rows } = await admin.query('select key from app.idempotency_keys')
    assert.deepEqual(rows, [{ key: kept }])
  })
}

const bad: [string, string][] = [
  ['nothing', ''],
  ['an empty string', '""'],
  ['an open string', '"abc'],
  ['more after the string', '"abc"d'],
  ['two strings', '"a", "b"'],
  ['a parameter', '"abc";a=1'],
  ['an unknown escape', '"a\\bc"'],
  ['a tab', 'a\tb'],
  ['a letter beyond ASCII', 'sch\u00f6n'],
  ['256 characters', 'k'.repeat(256)],
  ['256 escaped ones', `"${'\\"'.repeat(256)}"`],
  ['a thousand', 'k'.repeat(1000)],
]

for (const [what, sent] of bad) {
  test(`refuses as a key: ${what}`, async () => {
    const reply = await client.post('/v1/domains', newBody(), { headers: { 'idempotency-key': sent } })
    assert.equal(outcome(reply), '400 invalid-request')
    assert.equal(reply.body.errors[0].pointer, 'header/idempotency-key')
    if (sent.length > 2) assert.ok(!JSON.stringify(reply.body).includes(sent), 'it is not repeated')
  })
}

test('refuses two keys', async () => {
  const status = await new Promise((resolve, reject) => {
    const sent = request(new URL('/v1/domains', service.url), {
      method: 'POST',
      agent: false,
      headers: {
        authorization: `Bearer ${client.token}`,
        'content-type': 'application/json',
        'idempotency-key': ['one', 'two'],
      },
    })
    sent.on('response', (response) => resolve(response.resume().statusCode)).on('error', reject)
    sent.end(JSON.stringify(newBody()))
  })
  assert.equal(status, 400)
})

test('both spellings are one key', async () => {
  const [key, body] = [randomUUID(), newBody()]
  await client.post('/v1/domains', body, { headers: { 'idempotency-key': key } })
  const again = await client.post('/v1/domains', body, { headers: { 'idempotency-key': `"${key}"` } })
  assert.deepEqual([outcome(again), again.headers.get('idempotency-replayed')], ['201', 'true'])
})

test('judges the token before the key, and the key before it looks anything up', async () => {
  const headers = { 'idempotency-key': '""' }
  const nobody = await service.as({ scopes: ['domains:read'] })
  assert.equal(outcome(await nobody.post('/v1/domains', newBody(), { headers })), '403 insufficient-scope')
  const taken = await client.post('/v1/domains', { name: 'example.jp' }, { headers })
  assert.equal(outcome(taken), '400 invalid-request')
})

test('keeps an HMAC of the request, which is not its plain hash', async () => {
  const headers = { 'idempotency-key': randomUUID() }
  const body = newBody()
  await client.post('/v1/domains', body, { headers })
  const { rows } = await admin.query('select fingerprint from app.idempotency_keys where key = $1', [
    headers['idempotency-key'],
  ])
  const [expected] = service.keys.fingerprints(`POST /v1/domains\n${JSON.stringify(body)}`)
  assert.deepEqual(rows[0].fingerprint, expected)
})

test('other methods pay no heed to it', async () => {
  const headers = { 'idempotency-key': '""' }
  const path = '/v1/domains/example.jp'
  assert.equal(outcome(await client.get(path, { headers })), '200')
  assert.equal(outcome(await client.patch(path, { locked: true }, { headers })), '200')
  assert.equal(outcome(await client.patch(path, { locked: false }, { headers })), '200')
})
