import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { createClient, outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'
import { makeToken } from '../support/tokens.ts'

const service = await startService()
const admin = await service.as({ subject: 'hr' })
const limited = await service.as({ subject: 'reseller', domains: ['a.jp', 'b.jp', 'none.jp'] })
const path = '/v1/tokens'
const dayMs = 24 * 3600 * 1000
const wish = { label: 'A job', scopes: ['mailboxes:read'] }
const inDays = (days: number) => new Date(Date.now() + days * dayMs).toISOString()

before(async () => {
  for (const name of ['a.jp', 'b.jp', 'c.jp', 'gone.jp']) await admin.post('/v1/domains', { name })
  await admin.post('/v1/mailboxes', { address: 'user1@gone.jp', generate_password: true })
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
})

describe('making a token', () => {
  test('gives one that does what it says, and no more', async () => {
    const body = { label: 'Reseller “A”', scopes: ['mailboxes:write', 'domains:read'], domains: ['A.jp.'] }
    const made = await admin.post(path, body)
    assert.equal(outcome(made), '201')
    const { token, ...shown } = made.body
    assert.deepEqual(shown, {
      id: shown.id,
      parent: null,
      label: 'Reseller “A”',
      scopes: ['mailboxes:write', 'domains:read'],
      domains: ['a.jp'],
      allowed_ips: null,
      password_delivery: 'any',
      limits: { deletes_per_day: null, locks_per_day: null, password_sets_per_day: null },
      blown_fuses: [],
      state: 'active',
      created_by: 'hr',
      created_at: shown.created_at,
      expires_at: shown.expires_at,
      revoked_at: null,
      last_used_at: null,
    })
    assert.equal(made.headers.get('location'), `${path}/${shown.id}`)
    const second = `${shown.created_at.slice(0, 19)}.000Z`
    assert.equal(Date.parse(shown.expires_at) - Date.parse(second), 90 * dayMs)
    const { iat, exp, jti, sub } = decodeJwt(token)
    assert.deepEqual(
      [iat! * 1000, exp! * 1000, jti, sub],
      [Date.parse(second), Date.parse(shown.expires_at), shown.id, `token:${shown.id}`],
    )
    const client = createClient(service.url, token)
    assert.deepEqual((await client.get('/v1/domains')).body.items.map(nameOf), ['a.jp'])
    const create = await client.post('/v1/mailboxes', { address: 'user2@a.jp', generate_password: true })
    assert.equal(outcome(create), '201')
    assert.equal(outcome(await client.get('/v1/domains/b.jp')), '404 domain-not-found')
    assert.equal(outcome(await client.get('/v1/accounts')), '403 insufficient-scope')
    assert.equal(outcome(await client.get(path)), '403 insufficient-scope')
  })

  test('writes out the domains of its maker where it names none', async () => {
    assert.deepEqual((await admin.post(path, wish)).body.domains, ['*'])
    assert.deepEqual((await admin.post(path, { ...wish, domains: ['a.jp', '*'] })).body.domains, ['*'])
    assert.deepEqual((await limited.post(path, wish)).body.domains, ['a.jp', 'b.jp', 'none.jp'])
    const twice = { ...wish, domains: ['b.jp', 'B.JP', 'a.jp'] }
    assert.deepEqual((await limited.post(path, twice)).body.domains, ['b.jp', 'a.jp'])
  })

  test('gives what writing includes', async () => {
    const writer = await service.as({ scopes: ['tokens:write', 'mailboxes:write'] })
    assert.equal(outcome(await writer.post(path, { ...wish, scopes: ['mailboxes:read'] })), '201')
    assert.equal(outcome(await writer.post(path, { ...wish, scopes: ['tokens:write'] })), '201')
  })

  const refusals: [why: string, body: object, expected: string, pointer?: string][] = [
    ['an unknown scope', { scopes: ['mailboxes:all'] }, '400 invalid-request', '/scopes/0'],
    ['no scope', { scopes: [] }, '400 invalid-request', '/scopes'],
    ['the same scope twice', { scopes: ['domains:read', 'domains:read'] }, '400 invalid-request', '/scopes'],
    ['an empty label', { label: '' }, '400 invalid-request', '/label'],
    ['a long label', { label: 'x'.repeat(201) }, '400 invalid-request', '/label'],
    ['a label that hides something', { label: 'a\u202eb' }, '400 invalid-request', '/label'],
    ['no domains', { domains: [] }, '400 invalid-request', '/domains'],
    ['what is no domain', { domains: ['a.jp', 'b_.jp'] }, '422 invalid-domain-name', '/domains/1'],
    ['a domain that is not there', { domains: ['a.jp', 'x.jp'] }, '422 unknown-domain', '/domains/1'],
    ['a deleted domain', { domains: ['gone.jp'] }, '422 unknown-domain', '/domains/0'],
    ['an expiry that is past', { expires_at: inDays(-1) }, '400 invalid-request', '/expires_at'],
    ['an expiry now', { expires_at: new Date().toISOString() }, '400 invalid-request', '/expires_at'],
    ['a far expiry', { expires_at: inDays(366.01) }, '400 invalid-request', '/expires_at'],
    ['what is no moment', { expires_at: 'tomorrow' }, '400 invalid-request', '/expires_at'],
    ['no addresses', { allowed_ips: [] }, '400 invalid-request', '/allowed_ips'],
    [
      'too many addresses',
      { allowed_ips: Array.from({ length: 21 }, (_, i) => `10.0.0.${i}`) },
      '400 invalid-request',
      '/allowed_ips',
    ],
    ['what is no address', { allowed_ips: ['10.0.0.1', 'a.jp'] }, '422 invalid-network', '/allowed_ips/1'],
    ['bits beside the prefix', { allowed_ips: ['10.0.0.1/8'] }, '422 invalid-network', '/allowed_ips/0'],
  ]
  for (const [why, body, expected, pointer] of refusals) {
    test(`refuses ${why}`, async () => {
      const reply = await admin.post(path, { ...wish, ...body })
      assert.equal(outcome(reply), expected)
      assert.equal(reply.body.errors[0].pointer, pointer)
    })
  }

  test('refuses scopes and domains that its maker lacks, whether they are there or not', async () => {
    const few = await service.as({ scopes: ['tokens:write', 'mailboxes:read'], domains: ['a.jp'] })
    const scope = await few.post(path, { ...wish, scopes: ['mailboxes:read', 'mailboxes:write'] })
    assert.equal(outcome(scope), '403 insufficient-scope')
    assert.match(scope.body.detail, /mailboxes:write/)
    for (const domain of ['b.jp', 'x.jp', 'gone.jp', '*']) {
      const reply = await few.post(path, { ...wish, domains: ['a.jp', domain] })
      assert.equal(outcome(reply), '422 unknown-domain')
      assert.deepEqual(reply.body.errors, [{ pointer: '/domains/1', detail: 'There is no such domain.' }])
    }
    const missing = await limited.post(path, { ...wish, domains: ['none.jp'] })
    assert.equal(missing.body.errors[0].detail, 'There is no such domain.')
    const nobody = await service.as({ domains: [] })
    assert.equal(outcome(await nobody.post(path, wish)), '422 unknown-domain')
  })

  test('that sets passwords only sealed makes none that sets them in another way', async () => {
    const scopes = ['tokens:write']
    const { client } = await makeToken(service.url, admin, { scopes, password_delivery: 'sealed' })
    for (const wanted of [{}, { password_delivery: 'sealed' }]) {
      const { body } = await client.post(path, { ...wish, scopes, ...wanted })
      assert.equal(body.password_delivery, 'sealed')
      const next = await createClient(service.url, body.token).post(path, { ...wish, scopes })
      assert.equal(next.body.password_delivery, 'sealed')
    }
    const refused = await client.post(path, { ...wish, scopes, password_delivery: 'any' })
    assert.equal(outcome(refused), '403 insufficient-scope')
    assert.match(refused.body.detail, /password_delivery/)
    const odd = await admin.post(path, { ...wish, password_delivery: 'none' })
    assert.equal(outcome(odd), '400 invalid-request')
  })

  test('ends at the moment that is asked for, in whole seconds', async () => {
    for (const [wanted, offset, written] of [
      [inDays(365.9), 0, 'Z'],
      [inDays(30), 2, '+02:00'],
      [inDays(1), -9.5, '-09:30'],
    ] as const) {
      const local = new Date(Date.parse(wanted) + offset * 3600_000).toISOString().replace('Z', written)
      const { body } = await admin.post(path, { ...wish, expires_at: local })
      assert.equal(body.expires_at, `${wanted.slice(0, 19)}.000Z`)
    }
  })

  test('once under a key, whose repetition shows no token', async () => {
    const key = { headers: { 'idempotency-key': randomUUID() } }
    const body = { ...wish, domains: ['a.jp'], expires_at: inDays(1) }
    const first = await admin.post(path, body, key)
    const again = await admin.post(path, body, key)
    assert.deepEqual([outcome(first), outcome(again)], ['201', '201'])
    assert.equal(again.headers.get('idempotency-replayed'), 'true')
    const { token, ...rest } = first.body
    assert.equal(typeof token, 'string')
    assert.deepEqual(again.body, { ...rest, secret_omitted: true })
    assert.deepEqual([again.etag, again.headers.get('location')], [first.etag, first.headers.get('location')])
    assert.equal(outcome(await admin.post(path, { ...body, label: 'B' }, key)), '422 idempotency-key-reused')
  })

  test('gives each token idempotency keys of its own', async () => {
    const scopes = ['mailboxes:write']
    const [one, other] = [
      await makeToken(service.url, admin, { scopes, domains: ['a.jp'] }),
      await makeToken(service.url, admin, { scopes, domains: ['b.jp'] }),
    ]
    const key = { headers: { 'idempotency-key': 'the same' } }
    const create = { address: 'private@a.jp', generate_password: true }
    assert.equal(outcome(await one.client.post('/v1/mailboxes', create, key)), '201')
    assert.equal(outcome(await other.client.post('/v1/mailboxes', create, key)), '422 unknown-domain')
  })
})

describe('reading tokens', () => {
  test('shows what they are, never the tokens themselves', async () => {
    const made = await admin.post(path, wish)
    const { token, ...shown } = made.body
    const got = await admin.get(`${path}/${shown.id}`)
    assert.deepEqual([got.body, got.etag], [shown, made.etag])
    assert.deepEqual((await admin.get(`${path}/${shown.id.toUpperCase()}`)).body, shown)
    const [, , signature] = token.split('.')
    const { rows } = await service.admin.query(`select row(t)::text as text from app.tokens as t`)
    assert.ok(rows.length > 0 && !JSON.stringify(rows).includes(signature))
    assert.ok(!service.log.join().includes(signature))
  })

  test('finds nothing under another id', async () => {
    for (const id of [randomUUID(), 'x', 'tokens', '00000000-0000-0000-0000-00000000000g', "';--"]) {
      for (const method of ['get', 'delete'] as const) {
        const reply = await admin[method](`${path}/${encodeURIComponent(id)}`)
        assert.equal(outcome(reply), '404 token-not-found', id)
      }
    }
  })

  test('a limited caller sees those whose domains are all its own', async () => {
    const of = async (domains: string[]) => (await makeToken(service.url, admin, { domains })).id
    const [inside, both, across, outside, all] = [
      await of(['a.jp']),
      await of(['b.jp', 'a.jp']),
      await of(['a.jp', 'c.jp']),
      await of(['c.jp']),
      await of(['*']),
    ]
    const { items } = (await limited.get(`${path}?limit=1000`)).body
    const ids = new Set(items.map(({ id }: { id: string }) => id))
    for (const id of [inside, both]) {
      assert.ok(ids.has(id))
      assert.equal(outcome(await limited.get(`${path}/${id}`)), '200')
    }
    for (const id of [across, outside, all]) {
      assert.ok(!ids.has(id))
      assert.equal(outcome(await limited.get(`${path}/${id}`)), '404 token-not-found')
      assert.equal(outcome(await limited.delete(`${path}/${id}`)), '404 token-not-found')
      assert.equal((await admin.get(`${path}/${id}`)).body.state, 'active')
    }
    assert.equal(outcome(await limited.delete(`${path}/${both}`)), '204')
    const nobody = await service.as({ domains: [] })
    assert.deepEqual((await nobody.get(path)).body, { items: [], next: null })
  })

  test('lists them in pages, the oldest first, by their state', async () => {
    const own = await service.as({ domains: ['c.jp'] })
    const made: string[] = []
    for (let i = 0; i < 5; i++) {
      made.push((await makeToken(service.url, own)).id)
      await sleep(2) // the order of one millisecond is not defined
    }
    await own.delete(`${path}/${made[4]}`)
    await service.admin.query(
      `update app.domains set created_at = now() - interval '3 days' where name = 'c.jp'`,
    )
    await service.admin.query(
      `insert into app.tokens (id, label, scopes, domains, created_by, created_at, expires_at)
       values (gen_random_uuid(), 'old', '{domains:read}', '{c.jp}', 'hr',
         date_trunc('second', now()) - interval '2 days', now() - interval '1 day')`,
    )
    const labels = async (query: string) =>
      (await own.get(`${path}${query}`)).body.items.map(({ label, state }: Record<string, string>) => [
        label,
        state,
      ])
    assert.deepEqual(await labels('?state=expired'), [['old', 'expired']])
    assert.ok((await labels('?state=revoked')).every(([, state]: string[]) => state === 'revoked'))
    const seen: string[] = []
    let url = `${path}?limit=2`
    for (;;) {
      const page = await own.get(url)
      seen.push(...page.body.items.map(({ id }: { id: string }) => id))
      if (page.body.next === null) break
      url = `${path}?limit=2&cursor=${page.body.next}`
    }
    assert.deepEqual(
      seen.filter((id) => made.includes(id)),
      made.slice(0, 4),
    )
    assert.equal(new Set(seen).size, seen.length)
  })

  test('refuses a cursor that it did not give out', async () => {
    for (const after of [
      'x',
      'x y',
      `${new Date().toISOString()} x`,
      `2026-99-99T00:00:00Z ${randomUUID()}`,
    ]) {
      const cursor = Buffer.from(JSON.stringify({ after })).toString('base64url')
      assert.equal(outcome(await admin.get(`${path}?cursor=${cursor}`)), '400 invalid-request', after)
    }
  })
})

describe('revoking a token', () => {
  test('ends it for good, once', async () => {
    const { id, client } = await makeToken(service.url, admin)
    assert.equal(outcome(await client.get('/v1/domains')), '200')
    const { etag } = await admin.get(`${path}/${id}`)
    for (const tag of ['"another"', `W/${etag}`]) {
      const refused = await admin.delete(`${path}/${id}`, { headers: { 'if-match': tag } })
      assert.equal(outcome(refused), '412 precondition-failed')
    }
    assert.equal(outcome(await client.get('/v1/domains')), '200')
    assert.equal(outcome(await admin.delete(`${path}/${id}`, { headers: { 'if-match': etag } })), '204')
    const revoked = await admin.get(`${path}/${id}`)
    assert.deepEqual([revoked.body.state, typeof revoked.body.revoked_at], ['revoked', 'string'])
    assert.notEqual(revoked.etag, etag)
    assert.equal(outcome(await admin.delete(`${path}/${id}`)), '204')
    const again = await admin.get(`${path}/${id}`)
    assert.deepEqual([again.body, again.etag], [revoked.body, revoked.etag])
  })

  test('can be done by the token itself', async () => {
    const { id, client } = await makeToken(service.url, admin, { scopes: ['tokens:write'] })
    assert.equal(outcome(await client.delete(`${path}/${id}`)), '204')
    assert.equal((await admin.get(`${path}/${id}`)).body.state, 'revoked')
  })
})

function nameOf({ name }: { name: string }): string {
  return name
}
