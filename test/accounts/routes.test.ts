import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Account } from '../../src/accounts/schemas.ts'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['a.jp', 'b.jp']) await admin.post('/v1/domains', { name })
const limited = await service.as({ domains: ['a.jp'] })

const generated = { generate_password: true }
const make = (name: string, body: object = {}) => admin.post('/v1/accounts', { name, ...generated, ...body })
const makeMailbox = (address: string, body: object = {}) =>
  admin.post('/v1/mailboxes', { address, ...generated, ...body })

test('creates an account without a mailbox and gives it back', async () => {
  const created = await make('Hanako.Y', { display_name: '山田 花子', external_id: '1001' })
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('location'), '/v1/accounts/hanako.y')
  const { generated_password: password, ...account } = created.body
  assert.ok(password.length >= 20)
  assert.deepEqual(account, {
    name: 'hanako.y',
    authentication: 'local',
    disabled: false,
    display_name: '山田 花子',
    external_id: '1001',
    login_from: null,
    login_until: null,
    mailbox: null,
    password_set_at: account.password_set_at,
    password_scheme: 'ARGON2ID',
    created_at: account.created_at,
    updated_at: account.created_at,
  })
  const got = await admin.get('/v1/accounts/HANAKO.y')
  assert.deepEqual(got.body, account)
  assert.equal(got.etag, created.etag)
})

test('a password of the request is in no answer', async () => {
  const created = await admin.post('/v1/accounts', { name: 'given', password: 'my own password' })
  assert.equal(created.status, 201)
  assert.equal('generated_password' in created.body, false)
  assert.equal(JSON.stringify(created.body).includes('my own'), false)
})

test('names its mailbox while that is active', async () => {
  await makeMailbox('owner@b.jp')
  assert.equal((await admin.get('/v1/accounts/owner')).body.mailbox, 'owner@b.jp')
  await admin.delete('/v1/mailboxes/owner@b.jp')
  assert.equal((await admin.get('/v1/accounts/owner')).body.mailbox, null)
})

const refusals: [string, object, string, string | undefined][] = [
  ['an empty name', { name: '' }, '422 invalid-name', '/name'],
  ['a space in the name', { name: 'a b' }, '422 invalid-name', '/name'],
  ['an address for a name', { name: 'u@a.jp' }, '422 invalid-name', '/name'],
  ['NUL in the name', { name: 'u\0' }, '422 invalid-name', '/name'],
  ['21 characters', { name: 'n'.repeat(21) }, '422 invalid-name', '/name'],
  ['a role name', { name: 'root' }, '422 role-name-refused', '/name'],
  ['no password', { generate_password: false }, '422 password-required', undefined],
  ['a short password', { generate_password: false, password: 'short' }, '422 password-too-weak', '/password'],
  ['both passwords', { password: 'long enough' }, '422 password-not-accepted', '/password'],
  ['password_file', { authentication: 'password_file' }, '422 authentication-unavailable', '/authentication'],
  [
    'active_directory',
    { authentication: 'active_directory' },
    '422 authentication-unavailable',
    '/authentication',
  ],
  ['a number for a name', { name: 5 }, '400 invalid-request', '/name'],
  ['257 characters', { name: 'n'.repeat(257) }, '400 invalid-request', '/name'],
  ['an unknown member', { disabled: true }, '400 invalid-request', '/disabled'],
  ['a zero-width space', { display_name: 'a\u200bb' }, '400 invalid-request', '/display_name'],
  ['a line feed', { external_id: 'a\nb' }, '400 invalid-request', '/external_id'],
  ['201 characters', { external_id: 'x'.repeat(201) }, '400 invalid-request', '/external_id'],
  ['a text for a boolean', { allow_role_name: 'true' }, '400 invalid-request', '/allow_role_name'],
]
for (const [what, body, expected, pointer] of refusals) {
  test(`refuses ${what}`, async () => {
    const refused = await make('fresh', body)
    assert.equal(outcome(refused), expected)
    assert.equal(refused.body.errors?.[0].pointer, pointer)
    assert.equal(outcome(await admin.get('/v1/accounts/fresh')), '404 account-not-found')
  })
}

test('refuses a missing name', async () => {
  const refused = await admin.post('/v1/accounts', generated)
  assert.deepEqual(refused.body.errors, [{ pointer: '/name', detail: 'is missing' }])
})

test('the kind of authentication defaults to that of the server, which must be possible alone', async () => {
  await admin.patch('/v1/server', { authentication: 'password_file' })
  const refused = await make('nofile')
  const said = await make('nofile', { authentication: 'local' })
  await admin.patch('/v1/server', { authentication: 'local' })
  assert.equal(outcome(refused), '422 authentication-unavailable')
  assert.equal(said.status, 201)
})

test('a name may be as long as the setting says', async () => {
  await admin.patch('/v1/server', { local_name_max_length: 64 })
  assert.equal(outcome(await make('n'.repeat(64))), '201')
  assert.equal(outcome(await make('n'.repeat(65))), '422 invalid-name')
  await admin.patch('/v1/server', { local_name_max_length: 20 })
})

test('a role name needs the flag and the scope', async () => {
  const writer = await service.as({ scopes: ['accounts:write'] })
  const body = { name: 'admin', allow_role_name: true, ...generated }
  assert.equal(outcome(await writer.post('/v1/accounts', body)), '403 insufficient-scope')
  assert.equal(outcome(await admin.post('/v1/accounts', body)), '201')
})

test('refuses a name that an account has in any state', async () => {
  await make('again')
  const again = await make('AGAIN')
  assert.equal(outcome(again), '409 account-exists')
  assert.deepEqual(again.body.conflict, { kind: 'account', address: 'again' })

  await makeMailbox('whole@a.jp')
  assert.equal(outcome(await make('whole')), '409 account-exists')
  await admin.delete('/v1/mailboxes/whole@a.jp?account=delete')
  const deleted = await make('whole')
  assert.equal(outcome(deleted), '409 mailbox-deleted')
  assert.equal(deleted.body.conflict.address, 'whole@a.jp')

  await service.admin.query(
    `insert into app.accounts (name, state, authentication) values ('held', 'held', 'local')`,
  )
  assert.equal(outcome(await make('held')), '409 name-taken')
  assert.equal(outcome(await admin.get('/v1/accounts/held')), '404 account-not-found')
})

describe('PATCH', () => {
  test('sets what is sent, keeps what is not, and resets with null', async () => {
    const { body: made } = await make('patch', { display_name: 'One', external_id: '1' })
    const { generated_password: _, ...before } = made
    const path = '/v1/accounts/patch'
    const named = await admin.patch(path, { display_name: 'Two' })
    assert.deepEqual(named.body, { ...before, display_name: 'Two', updated_at: named.body.updated_at })
    assert.ok(named.body.updated_at > before.updated_at)
    const reset = await admin.patch(path, { external_id: null, disabled: true })
    assert.deepEqual(reset.body, {
      ...named.body,
      external_id: null,
      disabled: true,
      updated_at: reset.body.updated_at,
    })
    assert.notEqual(reset.etag, named.etag)
    assert.deepEqual((await admin.get(path)).body, reset.body)
  })

  test('leaves version and times alone where it changes nothing', async () => {
    await make('still', { display_name: 'が', external_id: '' })
    const before = await admin.get('/v1/accounts/still')
    const same = { display_name: 'が'.normalize('NFD'), external_id: '' }
    for (const edit of [{}, { disabled: false }, same, { display_name: 'が', disabled: false }]) {
      const after = await admin.patch('/v1/accounts/still', edit)
      assert.equal(after.etag, before.etag, JSON.stringify(edit))
      assert.deepEqual(after.body, before.body)
    }
  })

  test('keeps text as it is sent, in NFC', async () => {
    await make('text')
    for (const text of ['', '  spaces  ', '=1+1', '<b>"&\'', '葛\u{E0100}城', 'x'.repeat(200)]) {
      const { body } = await admin.patch('/v1/accounts/text', { display_name: text, external_id: text })
      assert.deepEqual([body.display_name, body.external_id], [text, text])
    }
  })

  test('refuses what is not settable or of another type', async () => {
    await make('strict')
    const wrong = [
      ...[{ disabled: null }, { disabled: 'true' }, { display_name: 5 }, { external_id: ['1'] }],
      ...[{ display_name: 'a\u202eb' }, { external_id: 'a\0' }, { name: 'other' }, { mailbox: 'a@a.jp' }],
      ...[{ authentication: 'local' }, { password: 'long enough' }],
    ]
    for (const body of wrong) {
      const refused = await admin.patch('/v1/accounts/strict', { ...body })
      assert.equal(outcome(refused), '400 invalid-request', JSON.stringify(body))
      assert.equal(refused.body.errors[0].pointer, `/${Object.keys(body)[0]}`)
    }
  })

  test('a disabled account blocks the login of its mailbox', async () => {
    await makeMailbox('disable@a.jp')
    const { etag } = await admin.get('/v1/mailboxes/disable@a.jp')
    assert.equal((await admin.patch('/v1/accounts/disable', { disabled: true })).body.mailbox, 'disable@a.jp')
    const mailbox = await admin.get('/v1/mailboxes/disable@a.jp')
    assert.deepEqual(mailbox.body.login_blocked_by, ['account'])
    assert.equal(mailbox.body.account.disabled, true)
    assert.equal(mailbox.etag, etag, 'it is the version of the mailbox itself')
  })
})

describe('DELETE', () => {
  test('removes an account without a mailbox at once, and its name is free', async () => {
    await make('gone')
    assert.equal(outcome(await admin.delete('/v1/accounts/gone')), '204')
    assert.equal(outcome(await admin.get('/v1/accounts/gone')), '404 account-not-found')
    const { rowCount } = await service.admin.query(`select from app.verifiers where name = 'gone'`)
    assert.equal(rowCount, 0)
    assert.equal(outcome(await makeMailbox('gone@a.jp')), '201')
  })

  test('refuses one with a mailbox in any state', async () => {
    await makeMailbox('has@a.jp')
    assert.equal(outcome(await admin.delete('/v1/accounts/has')), '409 account-has-mailbox')
    await admin.delete('/v1/mailboxes/has@a.jp')
    assert.equal(outcome(await admin.delete('/v1/accounts/has')), '409 account-has-mailbox')
    await admin.delete('/v1/mailboxes/has@a.jp?purge=true')
    assert.equal(outcome(await admin.delete('/v1/accounts/has')), '204')
  })
})

test('finds nothing by a name that is not there or cannot be one', async () => {
  for (const name of ['absent', 'a%20b', '%00', '..a', 'u@a.jp', 'x'.repeat(65), 'x'.repeat(400)]) {
    const path = `/v1/accounts/${name}`
    assert.equal(outcome(await admin.get(path)), '404 account-not-found', name)
    assert.equal(outcome(await admin.patch(path, {})), '404 account-not-found', name)
    assert.equal(outcome(await admin.delete(path)), '404 account-not-found', name)
  }
})

test('lists by prefix and external id', async () => {
  for (const name of ['li-b', 'li.a', 'li_c']) await make(name, { external_id: name === 'li.a' ? 'x' : 'y' })
  const list = async (query: string) =>
    (await admin.get(`/v1/accounts?${query}`)).body.items.map((item: Account) => item.name)
  assert.deepEqual(await list('prefix=li'), ['li-b', 'li.a', 'li_c'])
  assert.deepEqual(await list('prefix=li_'), ['li_c'])
  assert.deepEqual(await list('external_id=y'), ['li-b', 'li_c'])
  assert.deepEqual(await list('external_id=y&prefix=li_'), ['li_c'])
  assert.deepEqual(await list('external_id=z'), [])
  assert.equal(outcome(await admin.get('/v1/accounts?name=x')), '400 invalid-request')
  assert.equal(outcome(await admin.get('/v1/accounts?prefix=%00')), '400 invalid-request')
})

describe('a limited caller', () => {
  test('sees and changes the accounts whose mailbox is in its domains, and no others', async () => {
    await makeMailbox('near@a.jp')
    await makeMailbox('far@b.jp')
    await make('nowhere')
    await makeMailbox('left@a.jp')
    await admin.delete('/v1/mailboxes/left@a.jp')
    const { items } = (await limited.get('/v1/accounts')).body
    assert.ok(items.every((item: Account) => item.mailbox?.endsWith('@a.jp')))
    assert.ok(items.some((item: Account) => item.name === 'near'))
    assert.equal((await limited.patch('/v1/accounts/near', { display_name: 'N' })).body.display_name, 'N')
    for (const name of ['far', 'nowhere', 'left', 'absent']) {
      const path = `/v1/accounts/${name}`
      assert.equal(outcome(await limited.get(path)), '404 account-not-found', name)
      assert.equal(outcome(await limited.patch(path, {})), '404 account-not-found', name)
      assert.equal(outcome(await limited.delete(path)), '404 account-not-found', name)
    }
    assert.equal(outcome(await limited.delete('/v1/accounts/near')), '409 account-has-mailbox')
  })

  test('gets the accounts of its domains merged in one order, on pages too', async () => {
    const both = await service.as({ domains: ['b.jp', 'a.jp'] })
    for (const address of ['me-1@b.jp', 'me-2@a.jp', 'me-3@b.jp', 'me-4@a.jp']) await makeMailbox(address)
    await make('me-0')
    const names: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const from: string = cursor === '' ? '' : `&cursor=${cursor}`
      const { body } = await both.get(`/v1/accounts?prefix=me-&limit=1${from}`)
      names.push(...body.items.map((item: Account) => item.name))
      cursor = body.next
    }
    assert.deepEqual(names, ['me-1', 'me-2', 'me-3', 'me-4'])
  })

  test('creates no account by itself', async () => {
    const refused = await limited.post('/v1/accounts', { name: 'alone', ...generated })
    assert.equal(outcome(refused), '403 insufficient-scope')
  })
})
