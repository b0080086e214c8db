import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { connectAs } from '../support/mail.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
await admin.post('/v1/domains', { name: 'a.jp' })
await admin.post('/v1/domains', { name: 'file.jp', authentication: 'password_file' })

const noPassword = { no_password: true }

test('a mailbox without a password is deliverable, and nobody can log in until one is set', async () => {
  const made = await admin.post('/v1/mailboxes', { address: 'new@a.jp', ...noPassword })
  assert.equal(outcome(made), '201')
  const { body } = made
  assert.equal(body.account.password_set_at, null)
  assert.deepEqual(body.login_blocked_by, ['no-password'])
  assert.deepEqual([body.credentials.clear_text, body.credentials.secure_password], [null, null])
  for (const member of ['generated_password', 'sealed_password', 'secret_omitted'])
    assert.equal(member in body, false)
  const mail = await connectAs(String(service.admin.options.connectionString), 'read')
  const { rows } = await mail.query('select * from mail.mailbox($1, $2)', ['new', 'a.jp'])
  assert.equal(rows.length, 1)
  await mail.end()

  assert.equal((await admin.put('/v1/accounts/new/password', { password: 'a new password' })).status, 204)
  const after = await admin.get('/v1/mailboxes/new@a.jp')
  assert.notEqual(after.body.account.password_set_at, null)
  assert.deepEqual(after.body.login_blocked_by, [])
  assert.deepEqual(after.body.credentials.secure_password.mechanisms, ['SCRAM-SHA-256'])
  assert.equal(after.body.credentials.clear_text.username, 'new@a.jp')
  await assertInvariants(service.admin)
})

test('so for an account, for PUT and for candidates', async () => {
  const account = await admin.post('/v1/accounts', { name: 'alone', ...noPassword })
  assert.deepEqual([outcome(account), account.body.password_set_at], ['201', null])
  const ensured = await admin.put('/v1/mailboxes/put@a.jp', noPassword)
  assert.deepEqual([outcome(ensured), ensured.body.password_applied], ['201', false])
  assert.deepEqual(ensured.body.login_blocked_by, ['no-password'])
  const again = await admin.put('/v1/mailboxes/put@a.jp', noPassword)
  assert.deepEqual([outcome(again), again.etag], ['200', ensured.etag])
  const candidates = { domain: 'a.jp', name_candidates: ['put', 'first'], ...noPassword }
  const first = await admin.post('/v1/mailboxes', candidates)
  assert.deepEqual([first.body.address, first.body.account.password_set_at], ['first@a.jp', null])
  const { rows } = await service.admin.query(
    `select name from app.verifiers where name in ('alone', 'put', 'first')`,
  )
  assert.deepEqual(rows, [])
  await assertInvariants(service.admin)
})

test('false says nothing', async () => {
  const body = { address: 'false@a.jp', no_password: false }
  assert.equal(outcome(await admin.post('/v1/mailboxes', body)), '422 password-required')
  assert.equal(outcome(await admin.post('/v1/mailboxes', { ...body, generate_password: true })), '201')
})

const key = { kty: 'EC' }
const refusals: [string, string, object, string, string][] = [
  ['beside a password', 'm', { password: 'given 12345' }, '422 password-not-accepted', '/password'],
  [
    'beside a generated one',
    'm',
    { generate_password: true },
    '422 password-not-accepted',
    '/generate_password',
  ],
  ['beside a key', 'm', { seal_password_to: key }, '422 password-not-accepted', '/seal_password_to'],
  [
    'with an account that exists',
    'm',
    { create_account: false },
    '422 password-not-accepted',
    '/no_password',
  ],
  ['for password_file', 'm', { authentication: 'password_file' }, '422 password-required', '/no_password'],
  ['in a domain of password_file', 'f', {}, '422 password-required', '/no_password'],
  ['for candidates of password_file', 'c', {}, '422 password-required', '/no_password'],
  [
    'beside a password, for an account',
    'a',
    { password: 'given 12345' },
    '422 password-not-accepted',
    '/password',
  ],
]
for (const [what, kind, members, expected, pointer] of refusals) {
  test(`is refused ${what}`, async () => {
    const body = { ...noPassword, ...members }
    const reply = await {
      m: () => admin.post('/v1/mailboxes', { address: 'refused@a.jp', ...body }),
      f: () => admin.put('/v1/mailboxes/refused@file.jp', body),
      c: () => admin.post('/v1/mailboxes', { domain: 'file.jp', name_candidates: ['refused'], ...body }),
      a: () => admin.post('/v1/accounts', { name: 'refused', ...body }),
    }[kind]!()
    assert.equal(outcome(reply), expected)
    assert.equal(reply.body.errors[0].pointer, pointer)
  })
}

test('is no way to take a password away', async () => {
  const reply = await admin.put('/v1/accounts/new/password', noPassword)
  assert.equal(outcome(reply), '400 invalid-request')
})
