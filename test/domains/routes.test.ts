import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Domain } from '../../src/domains/schemas.ts'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const nameOf = (item: { name: string }) => item.name

test('creates a domain and gives it back', async () => {
  const created = await admin.post('/v1/domains', { name: 'Example.JP.' })
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('location'), '/v1/domains/example.jp')
  const { created_at, updated_at, ...members } = created.body
  assert.equal(created_at, updated_at)
  assert.deepEqual(members, {
    name: 'example.jp',
    unicode_name: 'example.jp',
    state: 'active',
    locked: false,
    authentication: null,
    secure_password_mechanisms: null,
    mail_server: null,
    postmaster_address: null,
    mailbox_limit: null,
    default_quota_bytes: null,
    accepts_mail: true,
    alias_of: null,
    mailbox_count: 0,
    purge_at: null,
  })
  const got = await admin.get('/v1/domains/EXAMPLE.jp.')
  assert.deepEqual(got.body, created.body)
  assert.equal(got.etag, created.etag)
})

test('refuses a second domain of the same name', async () => {
  await admin.post('/v1/domains', { name: 'twice.jp' })
  const again = await admin.post('/v1/domains', { name: 'TWICE.jp.' })
  assert.equal(outcome(again), '409 domain-exists')
  assert.deepEqual(again.body.conflict, { kind: 'domain', address: 'twice.jp' })
})

const settable = {
  locked: true,
  authentication: 'password_file',
  secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'],
  mail_server: 'mail.set.jp',
  postmaster_address: 'postmaster@set.jp',
  mailbox_limit: 0,
  default_quota_bytes: 9_007_199_254_740_991,
}

test('creates a domain with every member set', async () => {
  const created = await admin.post('/v1/domains', {
    name: 'set.jp',
    ...settable,
    mail_server: 'MAIL.set.jp.',
    postmaster_address: 'PostMaster@SET.jp',
  })
  assert.equal(created.status, 201)
  for (const [member, value] of Object.entries(settable))
    assert.deepEqual(created.body[member], value, member)
})

test('takes and returns U-labels beside A-labels', async () => {
  const created = await admin.post('/v1/domains', { name: '日本語.JP' })
  assert.equal(created.body.name, 'xn--wgv71a119e.jp')
  assert.equal(created.body.unicode_name, '日本語.jp')
  const got = await admin.get(`/v1/domains/${encodeURIComponent('日本語.jp')}`)
  assert.deepEqual(got.body, created.body)
  assert.equal(outcome(await admin.post('/v1/domains', { name: 'xn--wgv71a119e.jp' })), '409 domain-exists')
})

const refusals: [string, object, string, string][] = [
  ['a name of one label', { name: 'localhost' }, '422 invalid-domain-name', '/name'],
  ['an empty name', { name: '' }, '422 invalid-domain-name', '/name'],
  ['an IP address', { name: '192.0.2.1' }, '422 invalid-domain-name', '/name'],
  ['two trailing dots', { name: 'a.jp..' }, '422 invalid-domain-name', '/name'],
  ['NUL in the name', { name: 'a\0.jp' }, '422 invalid-domain-name', '/name'],
  ['no name', {}, '400 invalid-request', '/name'],
  ['a number for a name', { name: 5 }, '400 invalid-request', '/name'],
  ['null for a name', { name: null }, '400 invalid-request', '/name'],
  ['an unknown member', { name: 'no.jp', nmae: 1 }, '400 invalid-request', '/nmae'],
  ['a member that only answers have', { name: 'no.jp', state: 'active' }, '400 invalid-request', '/state'],
]
const valueRefusals: [string, object, string, string][] = [
  ['a false mail server', { mail_server: 'a_b' }, '422 invalid-domain-name', '/mail_server'],
  ['an empty mail server', { mail_server: '' }, '422 invalid-domain-name', '/mail_server'],
  ['no address', { postmaster_address: 'somebody' }, '422 invalid-address', '/postmaster_address'],
  ['an empty address', { postmaster_address: '' }, '422 invalid-address', '/postmaster_address'],
  [
    'an address of a false name',
    { postmaster_address: '.a@b.jp' },
    '422 invalid-address',
    '/postmaster_address',
  ],
  [
    'active_directory',
    { authentication: 'active_directory' },
    '422 authentication-unavailable',
    '/authentication',
  ],
  ['an unknown authentication', { authentication: 'ldap' }, '400 invalid-request', '/authentication'],
  ['a text for a boolean', { locked: 'true' }, '400 invalid-request', '/locked'],
  ['null for a boolean', { locked: null }, '400 invalid-request', '/locked'],
  ['a text for a number', { mailbox_limit: '5' }, '400 invalid-request', '/mailbox_limit'],
  ['a fraction', { mailbox_limit: 1.5 }, '400 invalid-request', '/mailbox_limit'],
  ['a negative limit', { mailbox_limit: -1 }, '400 invalid-request', '/mailbox_limit'],
  ['a limit over int4', { mailbox_limit: 2_147_483_648 }, '400 invalid-request', '/mailbox_limit'],
  ['a negative quota', { default_quota_bytes: -1 }, '400 invalid-request', '/default_quota_bytes'],
  [
    'a quota over 2^53 - 1',
    { default_quota_bytes: 9_007_199_254_740_992 },
    '400 invalid-request',
    '/default_quota_bytes',
  ],
  [
    'an unknown mechanism',
    { secure_password_mechanisms: ['NTLM'] },
    '400 invalid-request',
    '/secure_password_mechanisms/0',
  ],
  [
    'a mechanism twice',
    { secure_password_mechanisms: ['CRAM-MD5', 'CRAM-MD5'] },
    '400 invalid-request',
    '/secure_password_mechanisms',
  ],
]

for (const [what, body, expected, pointer] of [
  ...refusals,
  ...valueRefusals.map(([what, body, ...rest]) => [what, { name: 'no.jp', ...body }, ...rest] as const),
]) {
  test(`creates no domain from ${what}`, async () => {
    const refused = await admin.post('/v1/domains', body)
    assert.equal(outcome(refused), expected)
    assert.deepEqual(
      refused.body.errors.map((error: { pointer: string }) => error.pointer),
      [pointer],
    )
    assert.equal(outcome(await admin.get('/v1/domains/no.jp')), '404 domain-not-found')
  })
}

test('changes no domain to what a create refuses', async () => {
  const { etag } = await admin.post('/v1/domains', { name: 'kept.jp' })
  for (const [what, body, expected, pointer] of valueRefusals) {
    const refused = await admin.patch('/v1/domains/kept.jp', body)
    assert.equal(outcome(refused), expected, what)
    assert.equal(refused.body.errors[0].pointer, pointer, what)
  }
  assert.equal((await admin.get('/v1/domains/kept.jp')).etag, etag)
})

test('names every mistake of a body at once', async () => {
  const { body } = await admin.post('/v1/domains', { locked: 'yes', mailbox_limit: -1, what: 1 })
  const pointers = body.errors.map((error: { pointer: string }) => error.pointer)
  assert.deepEqual(pointers.toSorted(), ['/locked', '/mailbox_limit', '/name', '/what'])
})

test('sets each member, keeps the absent ones, and resets with null', async () => {
  await admin.post('/v1/domains', { name: 'merge.jp' })
  for (const [member, value] of Object.entries(settable)) {
    const before = await admin.get('/v1/domains/merge.jp')
    const after = await admin.patch('/v1/domains/merge.jp', { [member]: value })
    assert.equal(after.status, 200, member)
    assert.deepEqual(after.body, { ...before.body, [member]: value, updated_at: after.body.updated_at })
    assert.notEqual(after.etag, before.etag)
    assert.ok(after.body.updated_at > before.body.updated_at)
  }
  const resettable = Object.keys(settable).filter((member) => member !== 'locked')
  const nulls = Object.fromEntries(resettable.map((member) => [member, null]))
  const reset = await admin.patch('/v1/domains/merge.jp', nulls)
  assert.equal(reset.status, 200)
  for (const member of resettable) assert.equal(reset.body[member], null, member)
  assert.equal(reset.body.locked, true)
})

test('leaves version and times alone where an edit changes nothing', async () => {
  await admin.post('/v1/domains', { name: 'same.jp', ...settable })
  const before = await admin.get('/v1/domains/same.jp')
  for (const edit of [{}, settable, { locked: true }, { postmaster_address: 'POSTMASTER@set.jp.' }]) {
    const after = await admin.patch('/v1/domains/same.jp', edit)
    assert.equal(after.etag, before.etag, JSON.stringify(edit))
    assert.deepEqual(after.body, before.body)
  }
})

test('finds no domain by a name that is not there or cannot be one', async () => {
  for (const name of ['absent.jp', 'localhost', '.a.jp', '%00', 'a%2Fb.jp', 'x'.repeat(300)]) {
    const path = `/v1/domains/${name}`
    assert.equal(outcome(await admin.get(path)), '404 domain-not-found', name)
    assert.equal(outcome(await admin.patch(path, { locked: true })), '404 domain-not-found', name)
    assert.equal(outcome(await admin.delete(path)), '404 domain-not-found', name)
  }
})

test('lists domains by state and prefix, each with the count of its active mailboxes', async () => {
  for (const name of ['list-b.jp', 'list-a.jp', 'list-gone.jp']) await admin.post('/v1/domains', { name })
  for (const address of ['l1@list-a.jp', 'l2@list-a.jp', 'l3@list-gone.jp'])
    await admin.post('/v1/mailboxes', { address, generate_password: true })
  await admin.delete('/v1/mailboxes/l2@list-a.jp')
  await admin.delete('/v1/domains/list-gone.jp?mailboxes=delete&expect=1')
  const list = await admin.get('/v1/domains?prefix=list-')
  const counts = list.body.items.map((item: Domain) => [item.name, item.mailbox_count])
  assert.deepEqual(counts, [
    ['list-a.jp', 1],
    ['list-b.jp', 0],
  ])
  assert.deepEqual(list.body.items[0], (await admin.get('/v1/domains/list-a.jp')).body)
  const deleted = await admin.get('/v1/domains?state=deleted&prefix=list-')
  assert.deepEqual(deleted.body.items.map(nameOf), ['list-gone.jp'])
  assert.notEqual(deleted.body.items[0].purge_at, null)
  assert.deepEqual((await admin.get('/v1/domains?prefix=LIST-')).body, list.body)
  assert.equal(outcome(await admin.get('/v1/domains?prefix=%00')), '400 invalid-request')
})

const limited = await service.as({ domains: ['own.jp', 'own.com', 'absent.com'] })
const sure = { headers: { 'if-match': '*' } }

test('a limited caller sees its own domains and no others', async () => {
  for (const name of ['own.jp', 'own.com', 'foreign.jp']) await admin.post('/v1/domains', { name })
  assert.deepEqual((await limited.get('/v1/domains')).body.items.map(nameOf), ['own.com', 'own.jp'])
  assert.equal((await limited.get('/v1/domains/own.jp')).status, 200)
  assert.equal(outcome(await limited.get('/v1/domains/foreign.jp')), '404 domain-not-found')
  assert.equal(outcome(await limited.patch('/v1/domains/foreign.jp', {}, sure)), '404 domain-not-found')
})

test('a limited caller changes only the lock and the postmaster address', async () => {
  const edit = { locked: true, postmaster_address: 'me@own.jp' }
  const changed = await limited.patch('/v1/domains/own.jp', edit)
  assert.equal(changed.status, 200)
  assert.equal(changed.body.postmaster_address, 'me@own.jp')
  for (const [member, value] of Object.entries(settable)) {
    if (member in edit) continue
    const refused = await limited.patch('/v1/domains/own.jp', { locked: false, [member]: value })
    assert.equal(outcome(refused), '403 insufficient-scope', member)
  }
  assert.equal((await limited.get('/v1/domains/own.jp')).etag, changed.etag)
})

test('a limited caller neither creates nor deletes domains', async () => {
  const created = await limited.post('/v1/domains', { name: 'absent.com' })
  assert.equal(outcome(created), '403 insufficient-scope')
  assert.equal(outcome(await limited.delete('/v1/domains/own.com')), '403 insufficient-scope')
  assert.equal(outcome(await admin.get('/v1/domains/absent.com')), '404 domain-not-found')
  assert.equal((await admin.get('/v1/domains/own.com')).status, 200)
})

test('the mail server of a domain needs mailflow:write besides', async () => {
  const writer = await service.as({ scopes: ['domains:write'] })
  const body = { name: 'flow.jp', mail_server: 'mail.flow.jp' }
  assert.equal(outcome(await writer.post('/v1/domains', body)), '403 insufficient-scope')
  assert.equal((await writer.post('/v1/domains', { name: 'flow.jp' })).status, 201)
  for (const mail_server of ['mail.flow.jp', null]) {
    const refused = await writer.patch('/v1/domains/flow.jp', { mail_server })
    assert.equal(outcome(refused), '403 insufficient-scope')
    assert.match(refused.body.detail, /mailflow:write/)
  }
})
