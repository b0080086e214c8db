import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })

let domains = 0
/** A domain with mailboxes of these names, followed by the number of the domain. */
async function newDomain(...names: string[]): Promise<{ domain: string; path: string; at: string }> {
  const at = `${++domains}`
  const domain = `gone${at}.jp`
  assert.equal((await admin.post('/v1/domains', { name: domain })).status, 201)
  for (const name of names) {
    const body = { address: `${name}${at}@${domain}`, generate_password: true }
    assert.equal((await admin.post('/v1/mailboxes', body)).status, 201)
  }
  return { domain, path: `/v1/domains/${domain}`, at }
}

async function rows(table: 'domains' | 'mailboxes' | 'addresses' | 'accounts', name: string) {
  return (await service.admin.query(`select * from app.${table} where name = $1`, [name])).rows
}

test('removes a domain without mailboxes at once, and its name is free', async () => {
  const { domain, path } = await newDomain()
  assert.equal(outcome(await admin.delete(path)), '204')
  assert.deepEqual(await rows('domains', domain), [])
  assert.equal(outcome(await admin.delete(path)), '404 domain-not-found')
  assert.equal((await admin.post('/v1/domains', { name: domain })).status, 201)
})

test('takes mailboxes=delete for an empty domain too', async () => {
  const { domain, path } = await newDomain()
  assert.equal(outcome(await admin.delete(`${path}?mailboxes=delete&expect=1`)), '409 count-mismatch')
  assert.equal(outcome(await admin.delete(`${path}?mailboxes=delete&expect=0`)), '204')
  assert.deepEqual(await rows('domains', domain), [])
})

test('refuses to delete a domain with mailboxes unless their number is named', async () => {
  const { path, at, domain } = await newDomain('a', 'b')
  const refusals = {
    '': '409 domain-not-empty',
    '?expect=2': '409 domain-not-empty',
    '?purge=true': '409 domain-not-empty',
    '?accounts=delete': '409 domain-not-empty',
    '?mailboxes=delete': '400 invalid-request',
    '?mailboxes=delete&expect=1': '409 count-mismatch',
    '?mailboxes=delete&expect=3&purge=true': '409 count-mismatch',
    '?mailboxes=delete&expect=-1': '400 invalid-request',
    '?mailboxes=delete&expect=two': '400 invalid-request',
    '?mailboxes=keep&expect=2': '400 invalid-request',
    '?mailboxes=delete&expect=2&force=true': '400 invalid-request',
  }
  for (const [query, expected] of Object.entries(refusals)) {
    assert.equal(outcome(await admin.delete(path + query)), expected, query)
  }
  assert.equal((await admin.get(path)).body.mailbox_count, 2)
  assert.equal((await admin.get(`/v1/mailboxes/a${at}@${domain}`)).status, 200)
})

test('deletes a domain with its mailboxes restorably, and holds all names', async () => {
  const { path, at, domain } = await newDomain('a', 'b')
  const before = Date.now()
  assert.equal(outcome(await admin.delete(`${path}?mailboxes=delete&expect=2`)), '204')

  assert.equal(outcome(await admin.get(path)), '404 domain-not-found')
  assert.equal(outcome(await admin.patch(path, { locked: true })), '404 domain-not-found')
  assert.equal(outcome(await admin.delete(path)), '404 domain-not-found')
  assert.equal(outcome(await admin.get(`/v1/mailboxes/a${at}@${domain}`)), '404 mailbox-not-found')
  const created = await admin.post('/v1/mailboxes', {
    address: `new${at}@${domain}`,
    generate_password: true,
  })
  assert.equal(outcome(created), '422 unknown-domain')

  const again = await admin.post('/v1/domains', { name: domain })
  assert.equal(outcome(again), '409 domain-deleted')
  const { purge_at, ...conflict } = again.body.conflict
  assert.deepEqual(conflict, { kind: 'domain', address: domain })
  const days = (Date.parse(purge_at) - before) / 86_400_000
  assert.ok(days > 29.9 && days < 30.1, `${days} days`)

  const { items } = (await admin.get(`/v1/mailboxes?domain=${domain}&state=deleted`)).body
  assert.equal(items.length, 2)
  for (const item of items) assert.equal(item.purge_at, purge_at)
  const marks = (await rows('mailboxes', `a${at}`)).map((row) => row.deleted_with_domain)
  assert.deepEqual(marks, [true])
})

test('keeps the accounts of a deleted domain unless told otherwise', async () => {
  const kept = await newDomain('k')
  await admin.delete(`${kept.path}?mailboxes=delete&expect=1&accounts=keep`)
  assert.equal((await admin.get(`/v1/accounts/k${kept.at}`)).body.mailbox, null)
  assert.equal(outcome(await admin.delete(`/v1/accounts/k${kept.at}`)), '409 account-has-mailbox')

  const gone = await newDomain('k')
  await admin.delete(`${gone.path}?mailboxes=delete&expect=1&accounts=delete`)
  assert.equal(outcome(await admin.get(`/v1/accounts/k${gone.at}`)), '404 account-not-found')
  assert.equal((await rows('accounts', `k${gone.at}`))[0].state, 'deleted')
})

test('a password_file account goes with its domain in any case', async () => {
  const { domain, path, at } = await newDomain()
  const body = { address: `p${at}@${domain}`, generate_password: true, authentication: 'password_file' }
  assert.equal((await admin.post('/v1/mailboxes', body)).status, 201)
  await admin.delete(`${path}?mailboxes=delete&expect=1&accounts=keep`)
  assert.equal((await rows('accounts', `p${at}`))[0].state, 'deleted')
})

test('a domain with deleted mailboxes only is empty to the caller but waits for them', async () => {
  const { domain, path, at } = await newDomain('a', 'b')
  for (const name of ['a', 'b']) await admin.delete(`/v1/mailboxes/${name}${at}@${domain}`)
  assert.equal((await admin.get(path)).body.mailbox_count, 0)
  assert.equal(outcome(await admin.delete(path)), '204')
  assert.equal((await rows('domains', domain))[0].state, 'deleted')
  const mark = (await rows('mailboxes', `a${at}`))[0].deleted_with_domain
  assert.equal(mark, false, 'it had been deleted before and is not restored with the domain')
})

test('the purge of its last mailbox removes a deleted domain', async () => {
  const { domain, path, at } = await newDomain('a', 'b')
  // an address of it that is no mailbox does not hold it back
  await service.admin.query(`insert into app.addresses values ('info', $1, 'alias', false)`, [domain])
  await admin.delete(`${path}?mailboxes=delete&expect=2`)
  assert.equal(outcome(await admin.delete(`/v1/mailboxes/a${at}@${domain}?purge=true`)), '204')
  assert.equal(outcome(await admin.post('/v1/domains', { name: domain })), '409 domain-deleted')
  assert.equal(outcome(await admin.delete(`/v1/mailboxes/b${at}@${domain}?purge=true`)), '204')
  assert.deepEqual(await rows('domains', domain), [])
  assert.equal((await admin.post('/v1/domains', { name: domain })).status, 201)
  const left = await service.admin.query('select from app.addresses where domain = $1', [domain])
  assert.equal(left.rowCount, 0)
})

test('the purge of the last mailbox of a live domain leaves the domain', async () => {
  const { domain, path, at } = await newDomain('a')
  await admin.delete(`/v1/mailboxes/a${at}@${domain}?purge=true`)
  assert.equal((await admin.get(path)).status, 200)
})

test('purge=true frees the names of the domain and of all its mailboxes at once', async () => {
  const { domain, path, at } = await newDomain('a', 'b', 'c')
  await admin.delete(`/v1/mailboxes/a${at}@${domain}`)
  assert.equal(outcome(await admin.delete(`${path}?mailboxes=delete&expect=2&purge=true`)), '204')
  assert.deepEqual(await rows('domains', domain), [])
  for (const name of ['a', 'b', 'c']) {
    assert.deepEqual(await rows('mailboxes', `${name}${at}`), [])
    assert.deepEqual(await rows('addresses', `${name}${at}`), [])
    assert.equal((await admin.get(`/v1/accounts/${name}${at}`)).body.mailbox, null, 'accounts=keep')
  }
  assert.equal((await admin.post('/v1/domains', { name: domain })).status, 201)
  const body = { address: `b${at}@${domain}`, create_account: false }
  assert.equal((await admin.post('/v1/mailboxes', body)).status, 201)
})

test('purge=true with accounts=delete removes the accounts and their verifiers', async () => {
  const { path, at } = await newDomain('a')
  await admin.delete(`${path}?mailboxes=delete&expect=1&purge=true&accounts=delete`)
  assert.deepEqual(await rows('accounts', `a${at}`), [])
  const { rowCount } = await service.admin.query('select from app.verifiers where name = $1', [`a${at}`])
  assert.equal(rowCount, 0)
})

test('purge=true also removes a domain that is deleted already', async () => {
  const { domain, path } = await newDomain('a')
  await admin.delete(`${path}?mailboxes=delete&expect=1`)
  assert.equal(outcome(await admin.delete(`${path}?purge=true`)), '204')
  assert.deepEqual(await rows('domains', domain), [])
})

test('each variant of a deletion needs its scopes', async () => {
  const { path } = await newDomain('a')
  const deletions: [string, Parameters<typeof service.as>[0]][] = [
    ['', { scopes: ['domains:read', 'mailboxes:write'] }],
    ['?mailboxes=delete&expect=1', { scopes: ['domains:write', 'mailboxes:read'] }],
    ['?mailboxes=delete&expect=1&accounts=delete', { scopes: ['domains:write', 'mailboxes:write'] }],
    ['?mailboxes=delete&expect=1&purge=true', { scopes: ['domains:write', 'mailboxes:write'] }],
    ['?purge=true', { scopes: ['domains:write', 'mailboxes:write'] }],
  ]
  for (const [query, caller] of deletions) {
    const refused = await (await service.as(caller)).delete(path + query)
    assert.equal(outcome(refused), '403 insufficient-scope', query)
  }
  assert.equal((await admin.get(path)).body.mailbox_count, 1)
})
