import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { outcome, type RequestOptions } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['example.jp', 'example.com']) await admin.post('/v1/domains', { name })

afterEach(() => assertInvariants(service.admin))

let mailboxes = 0
/** A mailbox that is there, and the path it is restored by. */
async function newMailbox(domain = 'example.jp', body: object = {}) {
  const name = `back${++mailboxes}`
  const address = `${name}@${domain}`
  const made = await admin.post('/v1/mailboxes', { address, generate_password: true, ...body })
  assert.equal(outcome(made), '201')
  const path = `/v1/mailboxes/${address}`
  return { name, address, path, made: made.body, restore: restoring(path) }
}

function restoring(path: string) {
  return (client = admin, options?: RequestOptions) => client.post(`${path}/restore`, undefined, options)
}

async function row(table: 'accounts' | 'mailboxes', name: string) {
  return (await service.admin.query(`select * from app.${table} where name = $1`, [name])).rows[0]
}

async function verifiersOf(name: string): Promise<object[]> {
  const query = 'select mechanism, verifier from app.verifiers where name = $1 order by 1'
  return (await service.admin.query(query, [name])).rows
}

const written = ({ updated_at, ...rest }: { updated_at: string }) => rest

test('makes a deleted mailbox what it was', async () => {
  const body = { quota_bytes: 5000, account: { display_name: 'Hanako', external_id: '1001' } }
  const { name, path, restore, made } = await newMailbox('example.jp', body)
  await admin.patch(path, { locked: true })
  const before = await admin.get(path)
  const verifiers = await verifiersOf(name)
  await admin.delete(path)
  const deleted = await row('mailboxes', name)

  const restored = await restore()
  assert.equal(restored.status, 200)
  assert.deepEqual(written(restored.body), written(before.body))
  assert.deepEqual([restored.body.id, restored.body.state, restored.body.purge_at], [made.id, 'active', null])
  assert.ok(Date.parse(restored.body.updated_at) > deleted.updated_at.getTime())
  for (const earlier of [before.etag, `"${deleted.version}"`]) assert.notEqual(restored.etag, earlier)

  const got = await admin.get(path)
  assert.deepEqual([got.body, got.etag], [restored.body, restored.etag])
  assert.deepEqual(await verifiersOf(name), verifiers, 'nobody needs a new password')
  assert.equal((await admin.get(`/v1/accounts/${name}`)).body.mailbox, before.body.address)
  assert.deepEqual((await admin.get(`/v1/mailboxes?state=deleted&name=${name}`)).body.items, [])
})

test('finds it by its id and by its address in any case', async () => {
  const { address, path, made } = await newMailbox()
  for (const key of [made.id, made.id.toUpperCase(), address.toUpperCase(), `${address}.`]) {
    await admin.delete(path)
    assert.equal(outcome(await restoring(`/v1/mailboxes/${key}`)()), '200', key)
  }
})

test('brings back the account that went along, with its password', async () => {
  for (const [authentication, query] of [
    ['local', '?account=delete'],
    ['password_file', ''],
  ]) {
    const { name, path, restore } = await newMailbox('example.jp', { authentication })
    const account = await admin.get(`/v1/accounts/${name}`)
    const verifiers = await verifiersOf(name)
    await admin.delete(`${path}${query}`)
    assert.equal((await row('accounts', name)).state, 'deleted')

    const restored = await restore()
    assert.deepEqual(restored.body.login_blocked_by, [])
    assert.notEqual(restored.body.credentials.clear_text, null)
    const again = await admin.get(`/v1/accounts/${name}`)
    assert.deepEqual(written(again.body), written(account.body))
    assert.notEqual(again.etag, account.etag)
    assert.deepEqual(await verifiersOf(name), verifiers)
  }
})

test('leaves an account that was kept as it is by then', async () => {
  const { name, path, restore } = await newMailbox()
  await admin.delete(path)
  await admin.patch(`/v1/accounts/${name}`, { disabled: true, display_name: 'Left' })
  const { etag } = await admin.get(`/v1/accounts/${name}`)
  const { body } = await restore()
  assert.deepEqual([body.account.disabled, body.account.display_name], [true, 'Left'])
  assert.deepEqual(body.login_blocked_by, ['account'])
  assert.equal((await admin.get(`/v1/accounts/${name}`)).etag, etag)
})

test('drops nothing but verifiers of a mechanism that was taken off the list in the meantime', async () => {
  const both = { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] }
  await admin.post('/v1/domains', { name: 'lists.jp', ...both })
  const { name, path, restore } = await newMailbox('lists.jp')
  await admin.delete(`${path}?account=delete`)
  await admin.patch('/v1/domains/lists.jp', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
  const { body } = await restore()
  assert.deepEqual(body.credentials.secure_password, { username: name, mechanisms: ['SCRAM-SHA-256'] })
  assert.equal((await verifiersOf(name)).length, 2)
})

test('answers one that is not deleted as it is, so that it can be repeated', async () => {
  const { path, restore } = await newMailbox()
  const made = await admin.get(path)
  const untouched = await restore()
  assert.deepEqual([untouched.status, untouched.etag, untouched.body], [200, made.etag, made.body])
  await admin.delete(path)
  const first = await restore()
  const second = await restore()
  assert.deepEqual([second.status, second.etag, second.body], [200, first.etag, first.body])
})

test('can be deleted and restored again', async () => {
  const { name, path, restore } = await newMailbox()
  for (const query of ['', '?account=delete', '']) {
    assert.equal(outcome(await admin.delete(`${path}${query}`)), '204')
    assert.equal(outcome(await restore()), '200')
  }
  assert.equal((await row('accounts', name)).state, 'active')
})

test('is possible until the purge, also when purge_at has passed', async () => {
  const { name, path, restore } = await newMailbox()
  await admin.delete(path)
  await service.admin.query(
    `update app.mailboxes set purge_at = now() - interval '1 minute' where name = $1`,
    [name],
  )
  assert.equal(outcome(await restore()), '200')
  await admin.delete(path)
  await admin.delete(`${path}?purge=true&account=delete`)
  assert.equal(outcome(await restore()), '404 mailbox-not-found')
})

test('finds nothing by an address or id that is not there or cannot be one', async () => {
  const { name, path } = await newMailbox()
  await admin.delete(path)
  const absent = ['absent@example.jp', `${name}@example.com`, `${name}@absent.jp`, name, 'a@b@example.jp']
  for (const key of [...absent, '%00', '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e'])
    assert.equal(outcome(await restoring(`/v1/mailboxes/${key}`)()), '404 mailbox-not-found', key)
})

test('holds the limit of the domain, for which a deleted mailbox does not count', async () => {
  await admin.post('/v1/domains', { name: 'limit.jp', mailbox_limit: 2 })
  const first = await newMailbox('limit.jp')
  const second = await newMailbox('limit.jp')
  await admin.delete(first.path)
  const third = await newMailbox('limit.jp')
  const before = await row('mailboxes', first.name)

  const refused = await first.restore()
  assert.equal(outcome(refused), '409 mailbox-limit-reached')
  assert.match(refused.body.detail, /2 mailboxes and has 2/)
  assert.deepEqual(await row('mailboxes', first.name), before)
  assert.equal(outcome(await second.restore()), '200', 'one that is live needs no room')

  await admin.delete(third.path)
  assert.equal(outcome(await first.restore()), '200')
  assert.equal(outcome(await third.restore()), '409 mailbox-limit-reached')
  await admin.patch('/v1/domains/limit.jp', { mailbox_limit: null })
  assert.equal(outcome(await third.restore()), '200')
})

test('needs its domain, which has to be restored first', async () => {
  await admin.post('/v1/domains', { name: 'gone.jp' })
  const before = await newMailbox('gone.jp')
  const along = await newMailbox('gone.jp')
  await admin.delete(before.path)
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
  const own = await service.as({ scopes: ['mailboxes:write'], domains: ['gone.jp'] })
  for (const { path } of [before, along]) {
    for (const client of [admin, own]) {
      const refused = await restoring(path)(client)
      assert.equal(outcome(refused), '409 domain-deleted')
      const { purge_at, ...conflict } = refused.body.conflict
      assert.deepEqual(conflict, { kind: 'domain', address: 'gone.jp' })
      assert.ok(Date.parse(purge_at) > Date.now())
    }
    assert.equal((await row('mailboxes', path.split('/').at(-1)!.split('@')[0]!)).state, 'deleted')
  }
  await admin.post('/v1/domains/gone.jp/restore')
  for (const { restore } of [along, before]) assert.equal(outcome(await restore()), '200')
  assert.equal((await admin.get('/v1/domains/gone.jp')).body.mailbox_count, 2)
})

test('obeys If-Match, whatever the state', async () => {
  const { name, path, restore, made } = await newMailbox()
  const live = (await admin.get(path)).etag
  const matching = (etag: string) => restore(admin, { headers: { 'if-match': etag } })
  assert.equal(outcome(await matching('"another"')), '412 precondition-failed')
  assert.equal(outcome(await matching(live)), '200')
  await admin.delete(path)
  for (const etag of [live, '"another"', `"${made.id}"`, '""'])
    assert.equal(outcome(await matching(etag)), '412 precondition-failed', etag)
  assert.equal((await row('mailboxes', name)).state, 'deleted')
  assert.equal(outcome(await matching(`"another", "${(await row('mailboxes', name)).version}"`)), '200')
  await admin.delete(path)
  assert.equal(outcome(await matching('*')), '200')
})

test('needs mailboxes:write alone, also for a caller of one domain', async () => {
  const { path, restore } = await newMailbox()
  const reader = await service.as({ scopes: ['mailboxes:read', 'domains:write', 'accounts:write'] })
  const writer = await service.as({ scopes: ['mailboxes:write'], domains: ['example.jp'] })
  const stranger = await service.as({ scopes: ['mailboxes:write'], domains: ['example.com'] })
  await admin.delete(`${path}?account=delete`)
  assert.equal(outcome(await restore(reader)), '403 insufficient-scope')
  assert.equal(outcome(await restore(stranger)), '404 mailbox-not-found')
  const restored = await restore(writer)
  assert.equal(restored.status, 200)
  assert.equal(restored.body.account.disabled, false)
  assert.equal(outcome(await restore(stranger)), '404 mailbox-not-found')
})
