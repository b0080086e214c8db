import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Client, outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['a.jp', 'b.jp', 'c.jp']) await admin.post('/v1/domains', { name })
await admin.post('/v1/domains', { name: 'file.jp', authentication: 'password_file' })
const limited = await service.as({ domains: ['a.jp', 'b.jp'] })

const generated = { generate_password: true }
const create = (names: string[], body: object = {}, caller: Client = admin, options?: object) =>
  caller.post('/v1/mailboxes', { domain: 'a.jp', name_candidates: names, ...generated, ...body }, options)
const take = async (address: string) =>
  assert.equal(outcome(await admin.post('/v1/mailboxes', { address, ...generated })), '201')

await take('here@a.jp')
await take('other@b.jp')
await take('foreign@c.jp')
await take('gone@a.jp')
await admin.delete('/v1/mailboxes/gone@a.jp')
await take('gone-foreign@c.jp')
await admin.delete('/v1/mailboxes/gone-foreign@c.jp')
await admin.post('/v1/accounts', { name: 'account', ...generated })
await service.admin.query(
  `insert into app.accounts (name, state, authentication) values ('held', 'held', 'local');
   insert into app.addresses (name, domain, kind, holds_name) values ('alias', 'a.jp', 'alias', false), ('held', 'c.jp', 'alias', true)`,
)
const notFree = ['here', 'other', 'foreign', 'gone', 'gone-foreign', 'account', 'held', 'alias']

test('takes the first candidate that is free, whatever stands against the others', async () => {
  const reply = await create([...notFree, 'Free.One', 'free.two'], { account: { display_name: 'Anna' } })
  assert.equal(outcome(reply), '201')
  assert.equal(reply.body.address, 'free.one@a.jp')
  assert.equal(reply.headers.get('location'), '/v1/mailboxes/free.one@a.jp')
  assert.equal(reply.body.account.display_name, 'Anna')
  assert.ok(reply.body.generated_password)
  const again = await create([...notFree, 'free.one', 'free.two'], { domain: 'A.JP.' })
  assert.equal(again.body.address, 'free.two@a.jp')
  const { rows } = await service.admin.query(`select from app.mailboxes where name like 'free.%'`)
  assert.equal(rows.length, 2)
  await assertInvariants(service.admin)
})

test('an alias in another domain takes no name', async () => {
  assert.equal((await create(['alias', 'spare'], { domain: 'b.jp' })).body.address, 'alias@b.jp')
})

test('says of each why it is not free, and nothing more than the caller may know', async () => {
  const names = notFree.filter((name) => name !== 'alias')
  const reply = await create(names)
  assert.equal(outcome(reply), '409 name-taken')
  assert.equal(reply.body.detail, 'None of the name_candidates is free. Send others.')
  assert.equal('conflict' in reply.body, false)
  assert.deepEqual(
    reply.body.errors.map((one: { pointer: string }) => one.pointer),
    names.map((_, i) => `/name_candidates/${i}`),
  )
  const taken = 'The name is taken in this installation'
  assert.deepEqual(detailsOf(reply), [
    'The mailbox already exists: here@a.jp',
    `${taken}: other@b.jp`,
    `${taken}: foreign@c.jp`,
    'A deleted mailbox still holds this name: gone@a.jp',
    'A deleted mailbox still holds this name: gone-foreign@c.jp',
    'The account already exists: account',
    taken,
  ])
  assert.deepEqual(detailsOf(await create(names, {}, limited)), [
    'The mailbox already exists: here@a.jp',
    `${taken}: other@b.jp`,
    taken,
    'A deleted mailbox still holds this name: gone@a.jp',
    taken,
    taken,
    taken,
  ])
})

function detailsOf({ body }: { body: { errors: { detail: string }[] } }): string[] {
  return body.errors.map(({ detail }) => detail)
}

test('tells of an alias at the same address', async () => {
  await service.admin.query(
    `insert into app.addresses (name, domain, kind, holds_name) values ('alias2', 'a.jp', 'alias', false)`,
  )
  assert.deepEqual(detailsOf(await create(['alias2'])), ['The address is an alias: alias2@a.jp'])
})

test('a repeated request has the same mailbox again, and takes no other', async () => {
  const options = { headers: { 'idempotency-key': 'candidates-1' } }
  const names = ['here', 'repeat1', 'repeat2']
  const first = await create(names, {}, admin, options)
  const again = await create(names, {}, admin, options)
  assert.deepEqual([first.body.address, again.body.address], ['repeat1@a.jp', 'repeat1@a.jp'])
  assert.equal(again.headers.get('idempotency-replayed'), 'true')
  assert.equal(again.body.secret_omitted, true)
  assert.equal(outcome(await create(['here', 'repeat2'], {}, admin, options)), '422 idempotency-key-reused')
  const { rows } = await service.admin.query(`select from app.mailboxes where name like 'repeat%'`)
  assert.equal(rows.length, 1)
})

test('twenty candidates are looked up in one round trip, of any kind of authentication', async () => {
  const names = Array.from({ length: 20 }, (_, i) => `${'n'.repeat(30)}${i}`)
  for (const expected of names.slice(0, 3)) {
    const reply = await create(names, { domain: 'file.jp' })
    assert.equal(reply.body.address, `${expected}@file.jp`)
    assert.equal(reply.body.credentials.secure_password, null)
  }
})

test('the limit of the domain counts, and is told after the names', async () => {
  await admin.post('/v1/domains', { name: 'full.jp', mailbox_limit: 1 })
  assert.equal((await create(['here', 'full1'], { domain: 'full.jp' })).body.address, 'full1@full.jp')
  assert.equal(outcome(await create(['full2'], { domain: 'full.jp' })), '409 mailbox-limit-reached')
  assert.equal(outcome(await create(['here', 'full1'], { domain: 'full.jp' })), '409 name-taken')
})

test('makes an account, whatever the default of the server is', async () => {
  await admin.patch('/v1/server', { create_account_default: false })
  const reply = await create(['account', 'default1'], {}, limited)
  assert.equal(reply.body.address, 'default1@a.jp')
  await admin.patch('/v1/server', { create_account_default: true })
})

describe('refuses', () => {
  const n21 = 'n'.repeat(21)
  const longDomain = `${`${'d'.repeat(60)}.`.repeat(3)}${'d'.repeat(60)}.jp`
  const at = (i: number) => `/name_candidates/${i}`
  const cases: [string, object, string, string | undefined][] = [
    ['an address beside them', { ...body(['x']), address: 'x@a.jp' }, '400 invalid-request', '/address'],
    [
      'an address beside the domain',
      { domain: 'a.jp', address: 'x@a.jp', ...generated },
      '400 invalid-request',
      '/name_candidates',
    ],
    ['no domain', { name_candidates: ['x'], ...generated }, '400 invalid-request', '/domain'],
    ['a domain alone', { domain: 'a.jp', ...generated }, '400 invalid-request', '/name_candidates'],
    ['none', body([]), '400 invalid-request', '/name_candidates'],
    [
      '21 of them',
      body(Array.from({ length: 21 }, (_, i) => `x${i}`)),
      '400 invalid-request',
      '/name_candidates',
    ],
    ['a number', body([5 as never]), '400 invalid-request', at(0)],
    ['the same name in other letters', body(['one', 'two', 'ONE']), '400 invalid-request', at(2)],
    ['what is no name', body(['here', 'a..b']), '422 invalid-name', at(1)],
    ['an address as a name', body(['x@a.jp']), '422 invalid-name', at(0)],
    ['a local name that is too long', body(['free', n21]), '422 invalid-name', at(1)],
    [
      'an address that is too long',
      body(['n'.repeat(64)], { domain: longDomain }),
      '422 invalid-address',
      at(0),
    ],
    ['a role name', body(['free', 'Postmaster']), '422 role-name-refused', at(1)],
    ['what is no domain', body(['x'], { domain: 'nonsense' }), '422 invalid-domain-name', '/domain'],
    ['an unknown domain', body(['x'], { domain: 'absent.jp' }), '422 unknown-domain', '/domain'],
    [
      'an account that exists',
      body(['account'], { create_account: false }),
      '400 invalid-request',
      '/create_account',
    ],
    ['no password', { domain: 'a.jp', name_candidates: ['x'] }, '422 password-required', undefined],
    [
      'active_directory',
      body(['x'], { authentication: 'active_directory' }),
      '422 authentication-unavailable',
      '/authentication',
    ],
  ]
  for (const [what, sent, expected, pointer] of cases) {
    test(what, async () => {
      const reply = await admin.post('/v1/mailboxes', sent)
      assert.equal(outcome(reply), expected, JSON.stringify(reply.body))
      assert.equal(reply.body.errors?.[0].pointer, pointer)
    })
  }
  function body(name_candidates: string[], more: object = {}) {
    return { domain: 'a.jp', name_candidates, ...generated, ...more }
  }

  test('a role name without the scope', async () => {
    const caller = await service.as({ scopes: ['mailboxes:write'] })
    const role = { ...body(['free', 'abuse']), allow_role_name: true }
    assert.equal(outcome(await caller.post('/v1/mailboxes', role)), '403 insufficient-scope')
  })

  test("another's domain like one that is not there", async () => {
    const there = await create(['x'], { domain: 'c.jp' }, limited)
    const absent = await create(['x'], { domain: 'absent.jp' }, limited)
    assert.equal(outcome(there), '422 unknown-domain')
    assert.deepEqual({ ...there.body, instance: '' }, { ...absent.body, instance: '' })
  })

  test('a collision before a missing password', async () => {
    const reply = await admin.post('/v1/mailboxes', { domain: 'a.jp', name_candidates: ['here'] })
    assert.equal(outcome(reply), '409 name-taken')
  })
})
