import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['a.jp', 'b.jp', 'c.jp']) await admin.post('/v1/domains', { name })
const limited = await service.as({ domains: ['a.jp', 'b.jp'] })

const generated = { generate_password: true }
const ensure = (address: string, body: object = generated, headers: Record<string, string> = {}) =>
  admin.put(`/v1/mailboxes/${address}`, body, { headers })

async function verifiers(name: string) {
  const { rows } = await service.admin.query(
    'select * from app.verifiers where name = $1 order by mechanism',
    [name],
  )
  return rows
}

test('creates at first, then answers 200 for ever and changes nothing', async () => {
  const body = { password: 'correct horse', account: { external_id: '1' }, quota_bytes: 7 }
  const first = await ensure('Twice@A.jp', body)
  assert.equal(first.status, 201)
  assert.equal(first.headers.get('location'), '/v1/mailboxes/twice@a.jp')
  assert.equal(first.body.password_applied, true)
  const before = await verifiers('twice')
  assert.equal(before.length, 2)
  for (let round = 0; round < 3; round++) {
    const again = await ensure('twice@a.jp', body)
    assert.equal(again.status, 200)
    assert.equal(again.headers.get('location'), null)
    assert.equal(again.etag, first.etag)
    assert.deepEqual(again.body, { ...first.body, password_applied: false })
  }
  assert.deepEqual(await verifiers('twice'), before)
})

test('never changes a password', async () => {
  await ensure('keep@a.jp', { password: 'the first one' })
  const before = await verifiers('keep')
  const account = await admin.get('/v1/accounts/keep')
  for (const body of [{ password: 'another one' }, generated, { ...generated, create_account: true }]) {
    const again = await ensure('keep@a.jp', body)
    assert.equal(again.status, 200)
    assert.equal(again.body.password_applied, false)
    assert.equal('generated_password' in again.body, false)
  }
  assert.deepEqual(await verifiers('keep'), before)
  assert.equal((await admin.get('/v1/accounts/keep')).etag, account.etag)
})

test('shows a generated password where it creates', async () => {
  const { body } = await ensure('made@a.jp')
  assert.ok(body.generated_password.length >= 20)
  assert.equal(body.password_applied, true)
})

test('sets only what is sent, and null resets', async () => {
  const first = await ensure('only@a.jp', {
    ...generated,
    quota_bytes: 10,
    account: { display_name: 'One', external_id: '1' },
  })
  const named = await ensure('only@a.jp', { account: { display_name: 'Two' } })
  assert.equal(named.status, 200)
  assert.deepEqual(named.body.account, { ...first.body.account, display_name: 'Two' })
  assert.equal(named.body.quota_bytes, 10)
  assert.equal(named.etag, first.etag, 'the account is a row of its own')

  const limitedSize = await ensure('only@a.jp', { quota_bytes: 20, account: {} })
  assert.equal(limitedSize.body.quota_bytes, 20)
  assert.equal(limitedSize.body.account.display_name, 'Two')
  assert.notEqual(limitedSize.etag, first.etag)

  const reset = await ensure('only@a.jp', { quota_bytes: null, account: { external_id: null } })
  assert.equal(reset.body.quota_bytes, null)
  assert.equal(reset.body.account.external_id, null)
  assert.equal(reset.body.account.display_name, 'Two')
  assert.deepEqual((await ensure('only@a.jp', {})).body, reset.body)
})

test('leaves the lock and the disabled account alone', async () => {
  await ensure('calm@a.jp')
  await admin.patch('/v1/mailboxes/calm@a.jp', { locked: true })
  await admin.patch('/v1/accounts/calm', { disabled: true })
  const again = await ensure('calm@a.jp', { ...generated, quota_bytes: 1 })
  assert.deepEqual(again.body.login_blocked_by, ['mailbox', 'account'])
})

test('an id in the path is 404, though a mailbox has it', async () => {
  const { body } = await ensure('byid@a.jp')
  assert.equal(outcome(await ensure(body.id)), '404 mailbox-not-found')
  assert.equal(outcome(await ensure(body.id.toUpperCase(), {})), '404 mailbox-not-found')
})

const n21 = 'n'.repeat(21)
const refusals: [string, string, object, string, string | undefined][] = [
  ['what is no address', 'user', generated, '422 invalid-address', 'path/mailbox'],
  ['a domain that cannot be one', 'u@localhost', generated, '422 invalid-address', 'path/mailbox'],
  ['a false name', 'u..u@a.jp', generated, '422 invalid-name', 'path/mailbox'],
  ['NUL', 'u%00@a.jp', generated, '422 invalid-name', 'path/mailbox'],
  ['21 characters', `${n21}@a.jp`, generated, '422 invalid-name', 'path/mailbox'],
  ['an unknown domain', 'u@absent.jp', generated, '422 unknown-domain', 'path/mailbox'],
  ['a role name', 'abuse@a.jp', generated, '422 role-name-refused', 'path/mailbox'],
  ['an unknown account', 'u@a.jp', { create_account: false }, '422 unknown-account', 'path/mailbox'],
  ['no password', 'u@a.jp', {}, '422 password-required', undefined],
  ['a short password', 'u@a.jp', { password: 'short' }, '422 password-too-weak', '/password'],
  [
    'both passwords',
    'u@a.jp',
    { password: 'long enough', ...generated },
    '422 password-not-accepted',
    '/password',
  ],
  [
    'a password for an account that exists',
    'u@a.jp',
    { ...generated, create_account: false },
    '422 password-not-accepted',
    '/generate_password',
  ],
  [
    'active_directory',
    'u@a.jp',
    { ...generated, authentication: 'active_directory' },
    '422 authentication-unavailable',
    '/authentication',
  ],
  [
    'an address in the body',
    'u@a.jp',
    { ...generated, address: 'u@a.jp' },
    '400 invalid-request',
    '/address',
  ],
  ['a lock', 'u@a.jp', { ...generated, locked: true }, '400 invalid-request', '/locked'],
  ['null for an account', 'u@a.jp', { ...generated, account: null }, '400 invalid-request', '/account'],
  [
    'an escape in a name',
    'u@a.jp',
    { ...generated, account: { display_name: '\x1b[31m' } },
    '400 invalid-request',
    '/account/display_name',
  ],
]

for (const [what, address, body, expected, pointer] of refusals) {
  test(`refuses ${what} and leaves nothing behind`, async () => {
    const refused = await ensure(address, body)
    assert.equal(outcome(refused), expected)
    assert.equal(refused.body.errors?.[0].pointer, pointer)
    const { rowCount } = await service.admin.query(`select from app.accounts where name in ('u', 'abuse')`)
    assert.equal(rowCount, 0)
  })
}

describe('what PUT cannot change is 409', () => {
  test('name-taken, mailbox-deleted, alias-exists, account-exists', async () => {
    await ensure('other@b.jp')
    const taken = await ensure('other@a.jp')
    assert.equal(outcome(taken), '409 name-taken')
    assert.deepEqual(taken.body.conflict, { kind: 'mailbox', address: 'other@b.jp' })

    await ensure('gone@a.jp')
    await admin.delete('/v1/mailboxes/gone@a.jp')
    for (const address of ['gone@a.jp', 'gone@b.jp']) {
      const deleted = await ensure(address)
      assert.equal(outcome(deleted), '409 mailbox-deleted')
      assert.equal(deleted.body.conflict.address, 'gone@a.jp')
      assert.ok(Date.parse(deleted.body.conflict.purge_at) > Date.now())
    }

    await service.admin.query(`insert into app.addresses values ('sales9', 'a.jp', 'alias', false)`)
    assert.equal(outcome(await ensure('sales9@a.jp')), '409 alias-exists')

    await admin.post('/v1/accounts', { name: 'lonely', ...generated })
    const exists = await ensure('lonely@a.jp')
    assert.equal(outcome(exists), '409 account-exists')
    assert.deepEqual(exists.body.conflict, { kind: 'account', address: 'lonely' })
  })

  test('another authentication than the account has', async () => {
    await ensure('auth@a.jp')
    const changed = await ensure('auth@a.jp', { authentication: 'password_file', quota_bytes: 1 })
    assert.equal(outcome(changed), '409 authentication-differs')
    assert.equal((await admin.get('/v1/mailboxes/auth@a.jp')).body.quota_bytes, null)
    assert.equal((await ensure('auth@a.jp', { authentication: 'local' })).status, 200)
    await admin.post('/v1/accounts', { name: 'auth2', ...generated })
    const linked = await ensure('auth2@a.jp', { authentication: 'password_file', create_account: false })
    assert.equal(outcome(linked), '409 authentication-differs')
  })

  test('one mailbox too many for the domain', async () => {
    await admin.post('/v1/domains', { name: 'one.jp', mailbox_limit: 1 })
    assert.equal((await ensure('lim1@one.jp')).status, 201)
    assert.equal(outcome(await ensure('lim2@one.jp')), '409 mailbox-limit-reached')
    assert.equal((await ensure('lim1@one.jp')).status, 200)
  })
})

test('links an existing account, repeatably', async () => {
  await admin.post('/v1/accounts', { name: 'linked', ...generated })
  const before = await verifiers('linked')
  const link = { create_account: false, account: { display_name: 'Linked' } }
  const first = await ensure('linked@a.jp', link)
  assert.equal(first.status, 201)
  assert.equal(first.body.password_applied, false)
  assert.equal(first.body.account.display_name, 'Linked')
  const again = await ensure('linked@a.jp', link)
  assert.equal(again.status, 200)
  assert.deepEqual(again.body, first.body)
  assert.deepEqual(await verifiers('linked'), before)
})

describe('conditions', () => {
  test('If-None-Match: * creates only', async () => {
    const only = { 'if-none-match': '*' }
    assert.equal(outcome(await ensure('cond1@a.jp', generated, only)), '201')
    const refused = await ensure('cond1@a.jp', { quota_bytes: 9 }, only)
    assert.equal(outcome(refused), '412 precondition-failed')
    assert.equal((await admin.get('/v1/mailboxes/cond1@a.jp')).body.quota_bytes, null)
    const tag = await ensure('cond1@a.jp', {}, { 'if-none-match': '"x"' })
    assert.equal(outcome(tag), '400 invalid-request')
  })

  test('If-Match on a mailbox that is not there is 412', async () => {
    for (const value of ['*', '"5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e"']) {
      const refused = await ensure('cond2@a.jp', generated, { 'if-match': value })
      assert.equal(outcome(refused), '412 precondition-failed')
    }
    assert.equal(outcome(await admin.get('/v1/accounts/cond2')), '404 account-not-found')
  })

  test('If-Match holds an edit to the version it names', async () => {
    const { etag } = await ensure('cond3@a.jp')
    const edited = await ensure('cond3@a.jp', { quota_bytes: 1 }, { 'if-match': etag })
    assert.equal(edited.status, 200)
    for (const body of [{ quota_bytes: 2 }, { quota_bytes: 1 }, { account: { display_name: 'X' } }]) {
      const stale = await ensure('cond3@a.jp', body, { 'if-match': etag })
      assert.equal(outcome(stale), '412 precondition-failed', JSON.stringify(body))
    }
    const { body } = await ensure('cond3@a.jp', {}, { 'if-match': `W/"x", ${edited.etag}` })
    assert.equal(body.quota_bytes, 1)
    assert.equal(body.account.display_name, null)
  })
})

describe('a limited caller', () => {
  const mine = (address: string, body: object = generated) => limited.put(`/v1/mailboxes/${address}`, body)

  test('ensures in its own domains, with every collision outside a bare name-taken', async () => {
    assert.equal(outcome(await mine('lim@a.jp')), '201')
    assert.equal(outcome(await mine('lim@a.jp', { account: { display_name: 'L' } })), '200')
    const here = await mine('lim@b.jp')
    assert.equal(outcome(here), '409 name-taken')
    assert.deepEqual(here.body.conflict, { kind: 'mailbox', address: 'lim@a.jp' })
    await ensure('far@c.jp')
    await admin.post('/v1/accounts', { name: 'far2', ...generated })
    for (const address of ['far@a.jp', 'far2@a.jp']) {
      const refused = await mine(address)
      assert.equal(outcome(refused), '409 name-taken')
      assert.equal('conflict' in refused.body, false)
    }
  })

  test('finds no foreign domain and links no account', async () => {
    assert.equal(outcome(await mine('far@c.jp')), '422 unknown-domain')
    assert.equal(outcome(await mine('far2@a.jp', { create_account: false })), '403 insufficient-scope')
    assert.equal(outcome(await mine('absent@a.jp', { create_account: false })), '403 insufficient-scope')
  })
})
