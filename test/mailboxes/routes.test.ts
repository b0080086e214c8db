import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

before(async () => {
  for (const name of ['example.jp', 'example.com']) await admin.post('/v1/domains', { name })
})

test('answers a create with both logins', async () => {
  const created = await admin.post('/v1/mailboxes', {
    address: 'User05@Example.JP',
    password: 'MYSECRETPASSWORD',
  })
  assert.equal(created.status, 201)
  assert.deepEqual(created.body.credentials.clear_text, {
    username: 'user05@example.jp',
    mechanisms: ['PLAIN', 'LOGIN'],
  })
  assert.deepEqual(created.body.credentials.secure_password, {
    username: 'user05',
    mechanisms: ['SCRAM-SHA-256'],
  })
  const got = await admin.get('/v1/mailboxes/user05@example.jp')
  assert.deepEqual(got.body, created.body)
  assert.deepEqual((await admin.get(`/v1/mailboxes/${got.body.id}`)).body, created.body)
  assert.equal(got.etag, created.etag)
  const list = await admin.get('/v1/mailboxes?domain=example.jp')
  assert.deepEqual(list.body, { items: [created.body], next: null })
})

test('refuses the same name in another domain', async () => {
  await admin.post('/v1/mailboxes', { address: 'user06@example.jp', generate_password: true })
  const again = await admin.post('/v1/mailboxes', { address: 'user06@example.com', generate_password: true })
  assert.equal(outcome(again), '409 name-taken')
  assert.deepEqual(again.body.conflict, { kind: 'mailbox', address: 'user06@example.jp' })
})

test('smoke', async () => {
  const put = await admin.put('/v1/mailboxes/user07@example.jp', {
    generate_password: true,
    account: { display_name: 'X' },
  })
  assert.equal(put.status, 201)
  const again = await admin.put('/v1/mailboxes/user07@example.jp', {
    generate_password: true,
    account: { display_name: 'X' },
  })
  assert.equal(again.status, 200)
  assert.equal(again.etag, put.etag)
  const third = await admin.put('/v1/mailboxes/user07@example.jp', {
    quota_bytes: 5,
    account: { display_name: 'Y' },
  })
  assert.equal(third.body.account.display_name, 'Y')
  assert.equal(third.body.quota_bytes, 5)
  const locked = await admin.patch('/v1/mailboxes/user07@example.jp', { locked: true })
  assert.deepEqual(locked.body.login_blocked_by, ['mailbox'])
  assert.equal(
    (await admin.put('/v1/accounts/user07/password', { password: 'another password' })).status,
    204,
  )
  assert.equal((await admin.put('/v1/accounts/user07/password', { generate_password: true })).status, 200)
  assert.equal((await admin.delete('/v1/mailboxes/user07@example.jp')).status, 204)
  assert.equal(outcome(await admin.get('/v1/mailboxes/user07@example.jp')), '404 mailbox-not-found')
  assert.equal(
    outcome(await admin.post('/v1/mailboxes', { address: 'user07@example.com', generate_password: true })),
    '409 mailbox-deleted',
  )
  assert.equal(outcome(await admin.delete('/v1/accounts/user07')), '409 account-has-mailbox')
  assert.equal((await admin.delete('/v1/mailboxes/user07@example.jp?purge=true')).status, 204)
  assert.equal((await admin.get('/v1/accounts/user07')).body.mailbox, null)
  const linked = await admin.post('/v1/mailboxes', { address: 'user07@example.com', create_account: false })
  assert.equal(linked.status, 201)
  assert.deepEqual(linked.body.credentials.secure_password, {
    username: 'user07',
    mechanisms: ['SCRAM-SHA-256'],
  })
  const limited = await service.as({ domains: ['example.jp'] })
  assert.equal(outcome(await limited.get('/v1/mailboxes/user07@example.com')), '404 mailbox-not-found')
  assert.equal((await limited.get('/v1/mailboxes')).body.items.length, 2)
  assert.equal((await limited.get('/v1/accounts')).body.items.length, 2)
  const acc = await admin.post('/v1/accounts', { name: 'lonely', generate_password: true })
  assert.equal(acc.status, 201)
  assert.equal((await admin.patch('/v1/accounts/lonely', { disabled: true })).body.disabled, true)
  assert.equal((await admin.delete('/v1/accounts/lonely')).status, 204)
  assert.equal((await admin.get('/v1/server')).body.statistics.mailboxes, 3)
  assert.equal((await admin.patch('/v1/server', { pop3s_port: 2995 })).body.pop3s_port, 2995)
  assert.equal((await admin.patch('/v1/domains/example.jp', { secure_password_mechanisms: [] })).status, 200)
  assert.equal((await admin.get('/v1/mailboxes/user05@example.jp')).body.credentials.secure_password, null)
  assert.equal((await admin.patch('/v1/domains/example.jp', { mailbox_limit: 2 })).status, 200)
  assert.equal(
    outcome(await admin.post('/v1/mailboxes', { address: 'user08@example.jp', generate_password: true })),
    '409 mailbox-limit-reached',
  )
  assert.equal((await admin.patch('/v1/domains/example.jp', { mailbox_limit: 3 })).status, 200)
  assert.equal(
    outcome(await admin.post('/v1/mailboxes', { address: 'user08@example.jp', generate_password: true })),
    '201',
  )
  assert.equal(outcome(await admin.delete('/v1/domains/example.jp')), '409 domain-not-empty')
  assert.equal(
    outcome(await admin.delete('/v1/domains/example.jp?mailboxes=delete&expect=2')),
    '409 count-mismatch',
  )
  assert.equal(outcome(await admin.delete('/v1/domains/example.jp?mailboxes=delete&expect=3')), '204')
  assert.equal((await admin.get('/v1/domains?state=deleted')).body.items.length, 1)
  assert.equal(outcome(await admin.delete('/v1/domains/example.jp?purge=true')), '204')
  assert.equal((await admin.get('/v1/mailboxes?updated_since=2020-01-01T00:00:00Z&limit=1')).status, 200)
  assert.equal((await admin.get('/v1/mailboxes?external_id=x&prefix=a&locked=false')).status, 200)
  assert.equal((await admin.get('/v1/accounts?external_id=x&prefix=a')).status, 200)
  assert.equal(outcome(await admin.get('/v1/nothing')), '404 not-found')
  assert.equal(outcome(await admin.post('/v1/domains/example.com')), '405 method-not-allowed')
})
