import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['example.jp'] })
const generated = { generate_password: true }

before(async () => {
  for (const name of ['example.jp', 'example.com']) await admin.post('/v1/domains', { name })
})

const make = (address: string, body: object = {}) =>
  admin.post('/v1/mailboxes', { address, ...generated, ...body })

async function count(table: 'mailboxes' | 'addresses' | 'accounts' | 'verifiers', name: string) {
  const { rowCount } = await service.admin.query(`select from app.${table} where name = $1`, [name])
  return rowCount
}

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
  await make('user06@example.jp')
  const again = await make('user06@example.com')
  assert.equal(outcome(again), '409 name-taken')
  assert.deepEqual(again.body.conflict, { kind: 'mailbox', address: 'user06@example.jp' })
})

test('finds a mailbox by its address in any case and by its id', async () => {
  const { body } = await make('found@example.jp')
  for (const key of ['FOUND@Example.JP.', 'found%40example.jp', body.id, body.id.toUpperCase()])
    assert.deepEqual((await admin.get(`/v1/mailboxes/${key}`)).body.id, body.id, key)
})

test('finds nothing by an address or id that is not there or cannot be one', async () => {
  await make('elsewhere@example.com')
  const absent = [
    'absent@example.jp',
    'found@example.com',
    'found@absent.jp',
    'found',
    'a@b@example.jp',
    '%00',
  ]
  const id = '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e'
  for (const key of [...absent, id, '.@example.jp', `${'x'.repeat(70)}@example.jp`]) {
    const path = `/v1/mailboxes/${key}`
    assert.equal(outcome(await admin.get(path)), '404 mailbox-not-found', key)
    assert.equal(outcome(await admin.patch(path, { locked: true })), '404 mailbox-not-found', key)
    assert.equal(outcome(await admin.delete(path)), '404 mailbox-not-found', key)
    assert.equal(outcome(await admin.delete(`${path}?purge=true`)), '404 mailbox-not-found', key)
  }
})

describe('PATCH', () => {
  test('sets what is sent, keeps what is not, and resets the quota with null', async () => {
    await admin.patch('/v1/domains/example.jp', { default_quota_bytes: 1000 })
    const { body: made } = await make('patch@example.jp')
    const path = '/v1/mailboxes/patch@example.jp'
    const limitedSize = (await admin.patch(path, { quota_bytes: 5 })).body
    assert.deepEqual(limitedSize, {
      ...(await admin.get(path)).body,
      quota_bytes: 5,
      effective_quota_bytes: 5,
      locked: false,
    })
    assert.ok(limitedSize.updated_at > made.updated_at)
    assert.equal((await admin.patch(path, { locked: true })).body.quota_bytes, 5)
    const unlimited = (await admin.patch(path, { quota_bytes: 0 })).body
    assert.deepEqual([unlimited.quota_bytes, unlimited.effective_quota_bytes], [0, 0])
    const reset = (await admin.patch(path, { quota_bytes: null })).body
    assert.deepEqual([reset.quota_bytes, reset.effective_quota_bytes, reset.locked], [null, 1000, true])
    await admin.patch('/v1/domains/example.jp', { default_quota_bytes: null })
    await admin.patch('/v1/server', { default_quota_bytes: 77 })
    assert.equal((await admin.get(path)).body.effective_quota_bytes, 77)
    await admin.patch('/v1/server', { default_quota_bytes: 0 })
  })

  test('leaves version and times alone where it changes nothing', async () => {
    const path = '/v1/mailboxes/still@example.jp'
    await make('still@example.jp', { quota_bytes: 5 })
    const made = await admin.get(path)
    for (const edit of [{}, { locked: false }, { quota_bytes: 5 }, { locked: false, quota_bytes: 5 }]) {
      const after = await admin.patch(path, edit)
      assert.equal(after.etag, made.etag, JSON.stringify(edit))
      assert.deepEqual(after.body, made.body)
    }
  })

  test('refuses what is not settable or of another type', async () => {
    await make('strict@example.jp')
    const wrong = [
      ...[{ locked: null }, { locked: 'true' }, { locked: 1 }, { quota_bytes: '5' }, { quota_bytes: -1 }],
      ...[{ quota_bytes: 0.5 }, { quota_bytes: 9_007_199_254_740_992 }, { state: 'deleted' }],
      ...[{ address: 'other@example.jp' }, { account: { display_name: 'X' } }, { password: 'long enough' }],
    ]
    for (const body of wrong) {
      const refused = await admin.patch('/v1/mailboxes/strict@example.jp', { locked: true, ...body })
      assert.equal(outcome(refused), '400 invalid-request', JSON.stringify(body))
      assert.equal(refused.body.errors[0].pointer, `/${Object.keys(body)[0]}`)
    }
    assert.equal((await admin.get('/v1/mailboxes/strict@example.jp')).body.locked, false)
  })
})

describe('a lock', () => {
  const blocked = async (path: string) => {
    const { body } = await admin.get(path)
    return [body.locked, body.effective_locked, ...body.login_blocked_by]
  }

  test('of the mailbox, the domain and the account are told apart', async () => {
    await admin.post('/v1/domains', { name: 'locks.jp' })
    const { body: made } = await make('lock@locks.jp')
    const path = '/v1/mailboxes/lock@locks.jp'
    assert.deepEqual(await blocked(path), [false, false])
    await admin.patch('/v1/domains/locks.jp', { locked: true })
    assert.deepEqual(await blocked(path), [false, true, 'domain'])
    await admin.patch(path, { locked: true })
    assert.deepEqual(await blocked(path), [true, true, 'mailbox', 'domain'])
    await admin.patch('/v1/accounts/lock', { disabled: true })
    assert.deepEqual(await blocked(path), [true, true, 'mailbox', 'domain', 'account'])
    assert.deepEqual((await admin.get(path)).body.credentials, made.credentials)
    await admin.patch(path, { locked: false })
    assert.deepEqual(await blocked(path), [false, true, 'domain', 'account'], 'the domain is still locked')
    await admin.patch('/v1/domains/locks.jp', { locked: false })
    await admin.patch('/v1/accounts/lock', { disabled: false })
    assert.deepEqual(await blocked(path), [false, false])
  })

  test('of a domain keeps the locks of its mailboxes', async () => {
    await admin.post('/v1/domains', { name: 'own-locks.jp' })
    await make('shut@own-locks.jp')
    await make('open@own-locks.jp')
    await admin.patch('/v1/mailboxes/shut@own-locks.jp', { locked: true })
    for (const locked of [true, false]) await admin.patch('/v1/domains/own-locks.jp', { locked })
    assert.deepEqual(await blocked('/v1/mailboxes/shut@own-locks.jp'), [true, true, 'mailbox'])
    assert.deepEqual(await blocked('/v1/mailboxes/open@own-locks.jp'), [false, false])
  })

  test('does not keep an administrator from changing the password and deleting', async () => {
    await make('locked@example.jp')
    await admin.patch('/v1/mailboxes/locked@example.jp', { locked: true })
    await admin.patch('/v1/accounts/locked', { disabled: true })
    const changed = await admin.put('/v1/accounts/locked/password', { password: 'another one by far' })
    assert.equal(outcome(changed), '204')
    assert.equal(outcome(await admin.delete('/v1/mailboxes/locked@example.jp')), '204')
  })
})

describe('DELETE', () => {
  test('makes the mailbox invisible and keeps its name and row until purge_at', async () => {
    await admin.patch('/v1/server', { deleted_retention_days: 3 })
    const { body: made } = await make('gone@example.jp', { account: { display_name: 'G' } })
    assert.equal(outcome(await admin.delete('/v1/mailboxes/gone@example.jp')), '204')
    await admin.patch('/v1/server', { deleted_retention_days: 30 })
    for (const key of ['gone@example.jp', made.id]) {
      const path = `/v1/mailboxes/${key}`
      assert.equal(outcome(await admin.get(path)), '404 mailbox-not-found')
      assert.equal(outcome(await admin.patch(path, {})), '404 mailbox-not-found')
      assert.equal(outcome(await admin.delete(path)), '404 mailbox-not-found')
      assert.equal(outcome(await admin.delete(`${path}?account=delete`)), '404 mailbox-not-found')
    }
    const { items } = (await admin.get('/v1/mailboxes?state=deleted&domain=example.jp&name=gone')).body
    assert.deepEqual([items[0].id, items[0].state], [made.id, 'deleted'])
    assert.deepEqual(items[0].login_blocked_by, ['deleted'])
    const days = (Date.parse(items[0].purge_at) - Date.parse(items[0].updated_at)) / 86_400_000
    assert.equal(days, 3)
    assert.deepEqual((await admin.get('/v1/mailboxes?name=gone')).body.items, [])
    assert.equal((await admin.get('/v1/accounts/gone')).body.mailbox, null)
    assert.equal(outcome(await admin.delete('/v1/accounts/gone')), '409 account-has-mailbox')
  })

  test('with purge=true frees the name, and the next mailbox has another id', async () => {
    for (const first of ['', '?account=delete', undefined]) {
      const { body: made } = await make('anew@example.jp')
      if (first !== undefined) await admin.delete(`/v1/mailboxes/anew@example.jp${first}`)
      const purged = await admin.delete(`/v1/mailboxes/${made.id}?purge=true&account=delete`)
      assert.equal(outcome(purged), '204')
      for (const table of ['mailboxes', 'addresses', 'accounts', 'verifiers'] as const)
        assert.equal(await count(table, 'anew'), 0, table)
      const anew = await make('anew@example.com')
      assert.equal(anew.status, 201)
      assert.notEqual(anew.body.id, made.id)
      assert.equal(outcome(await admin.get(`/v1/mailboxes/${made.id}`)), '404 mailbox-not-found')
      await admin.delete('/v1/mailboxes/anew@example.com?purge=true&account=delete')
    }
  })

  test('with purge=true and without account=delete leaves the account and its password', async () => {
    await make('stays@example.jp')
    await admin.delete('/v1/mailboxes/stays@example.jp?purge=true')
    assert.equal((await admin.get('/v1/accounts/stays')).body.mailbox, null)
    assert.equal(await count('verifiers', 'stays'), 2)
    const linked = await admin.post('/v1/mailboxes', { address: 'stays@example.com', create_account: false })
    assert.equal(linked.status, 201)
    assert.notEqual(linked.body.credentials.clear_text, null)
  })

  test('with account=delete takes the account along, and the purge takes both', async () => {
    await make('both@example.jp')
    assert.equal(outcome(await admin.delete('/v1/mailboxes/both@example.jp?account=delete')), '204')
    assert.equal(outcome(await admin.get('/v1/accounts/both')), '404 account-not-found')
    const password = await admin.put('/v1/accounts/both/password', { password: 'another one by far' })
    assert.equal(outcome(password), '404 account-not-found')
    assert.equal(outcome(await admin.delete('/v1/accounts/both')), '404 account-not-found')
    const created = await admin.post('/v1/accounts', { name: 'both', ...generated })
    assert.equal(outcome(created), '409 mailbox-deleted')
    assert.equal(created.body.conflict.address, 'both@example.jp')
    assert.ok(Date.parse(created.body.conflict.purge_at) > Date.now())
    await admin.delete('/v1/mailboxes/both@example.jp?purge=true&account=keep')
    assert.equal(await count('accounts', 'both'), 0)
  })

  test('always takes the account of a password_file mailbox along', async () => {
    for (const query of ['', '?purge=true', '?account=keep']) {
      await make('file@example.jp', { authentication: 'password_file' })
      await admin.delete(`/v1/mailboxes/file@example.jp${query}`)
      assert.equal(outcome(await admin.get('/v1/accounts/file')), '404 account-not-found')
      if (!query.includes('purge')) await admin.delete('/v1/mailboxes/file@example.jp?purge=true')
      assert.equal(await count('accounts', 'file'), 0)
    }
  })

  test('needs mailboxes:purge to purge and accounts:write to take the account along', async () => {
    await make('scope@example.jp')
    const path = '/v1/mailboxes/scope@example.jp'
    const writer = await service.as({ scopes: ['mailboxes:write'] })
    assert.equal(outcome(await writer.delete(`${path}?purge=true`)), '403 insufficient-scope')
    assert.equal(outcome(await writer.delete(`${path}?account=delete`)), '403 insufficient-scope')
    const purger = await service.as({ scopes: ['mailboxes:purge', 'accounts:write'] })
    assert.equal(outcome(await purger.delete(`${path}?purge=true`)), '403 insufficient-scope')
    assert.equal((await admin.get(path)).status, 200)
    assert.equal(outcome(await writer.delete(path)), '204')
  })

  test('takes no other query', async () => {
    await make('query@example.jp')
    for (const query of ['?purge=yes', '?purge=1', '?account=', '?account=remove', '?purge=', '?force=true'])
      assert.equal(
        outcome(await admin.delete(`/v1/mailboxes/query@example.jp${query}`)),
        '400 invalid-request',
        query,
      )
    assert.equal((await admin.get('/v1/mailboxes/query@example.jp')).status, 200)
  })
})

describe('a limited caller', () => {
  test('touches only mailboxes of its domains, by address or id', async () => {
    const { body: far, etag } = await make('far@example.com')
    for (const key of ['far@example.com', far.id]) {
      const path = `/v1/mailboxes/${key}`
      assert.equal(outcome(await limited.get(path)), '404 mailbox-not-found')
      assert.equal(outcome(await limited.patch(path, { locked: true })), '404 mailbox-not-found')
      assert.equal(outcome(await limited.delete(path)), '404 mailbox-not-found')
      assert.equal(outcome(await limited.delete(`${path}?purge=true`)), '404 mailbox-not-found')
    }
    assert.equal((await admin.get('/v1/mailboxes/far@example.com')).etag, etag)
    await make('near@example.jp')
    assert.equal((await limited.get('/v1/mailboxes/near@example.jp')).status, 200)
    assert.equal((await limited.patch('/v1/mailboxes/near@example.jp', { locked: true })).body.locked, true)
  })

  test('deletes the account with the mailbox, without accounts:write', async () => {
    const writer = await service.as({
      scopes: ['mailboxes:write', 'mailboxes:purge'],
      domains: ['example.jp'],
    })
    for (const query of ['', '?account=keep', '?account=delete']) {
      await make('along@example.jp')
      assert.equal(outcome(await writer.delete(`/v1/mailboxes/along@example.jp${query}`)), '204')
      assert.equal(outcome(await admin.get('/v1/accounts/along')), '404 account-not-found')
      assert.equal(outcome(await writer.delete('/v1/mailboxes/along@example.jp?purge=true')), '204')
      assert.equal(await count('accounts', 'along'), 0)
    }
    await make('along@example.jp')
    await writer.delete('/v1/mailboxes/along@example.jp?purge=true&account=keep')
    assert.equal(await count('accounts', 'along'), 0)
  })
})
