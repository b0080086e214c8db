import assert from 'node:assert/strict'
import { afterEach, before, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

// What a rename leaves behind: the old address as an alias, and what named it elsewhere.

const service = await startService()
const api = await service.as()
const { admin } = service
const school = 'school.jp'
const firm = 'firm.jp'

before(async () => {
  await api.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of [school, firm]) await api.post('/v1/domains', { name })
  await api.post('/v1/domains', { name: 'brand.jp', alias_of: school })
})
afterEach(() => assertInvariants(admin))

async function create(address: string, values: object = {}): Promise<string> {
  const reply = await api.post('/v1/mailboxes', { address, generate_password: true, ...values })
  assert.equal(outcome(reply), '201', address)
  return address
}

async function rename(from: string, address: string, more: object = {}): Promise<string> {
  const reply = await api.post(`/v1/mailboxes/${from}/rename`, { address, ...more })
  assert.equal(outcome(reply), '200', `${from} to ${address}`)
  return address
}

const aliasAt = async (address: string) => outcome(await api.get(`/v1/aliases/${address}`))

async function recipients(address: string): Promise<string[]> {
  const { rows } = await admin.query(
    `select r.address from mail.recipients(split_part($1, '@', 1), split_part($1, '@', 2), true) as r (address)`,
    [address],
  )
  return rows.map((row) => row.address)
}

test('where the old address is given up, what names it in another way goes along too', async () => {
  const old = await create(`kei@${school}`)
  const targets = ['kei@brand.jp', 'kei+news@school.jp', old, 'kei+x@brand.jp']
  await api.post('/v1/aliases', { address: `list@${firm}`, targets })
  const friend = await create(`friend@${firm}`, { forward_to: ['kei+a@school.jp', 'kei@brand.jp'] })
  const now = await rename(old, `kei.abe@${firm}`, { keep_old_as_alias: false })
  const list = await api.get(`/v1/aliases/list@${firm}`)
  assert.deepEqual(
    [list.body.targets.sort(), list.body.broken_targets],
    [[`kei.abe+news@${firm}`, `kei.abe+x@${firm}`, now], []],
  )
  const { body } = await api.get(`/v1/mailboxes/${friend}`)
  assert.deepEqual(body.forward_to, [`kei.abe+a@${firm}`, now])
  assert.deepEqual(await recipients(old), [])
})

test('an address of an alias domain is followed where the old one is kept', async () => {
  const old = await create(`mio@${school}`)
  await api.post('/v1/aliases', { address: `mios@${firm}`, targets: ['mio@brand.jp'] })
  const now = await rename(old, `mio.abe@${school}`)
  assert.deepEqual((await api.get(`/v1/aliases/mios@${firm}`)).body.targets, [now])
  assert.deepEqual(await recipients('mio@brand.jp'), [now])
})

test("a postmaster's address follows and is told to the audit, but not in what a limited caller cannot see", async () => {
  const old = await create(`post@${school}`)
  await api.patch(`/v1/domains/${firm}`, { postmaster_address: old })
  await api.patch('/v1/server', { postmaster_address: old })
  const limited = await service.as({ domains: [school] })
  const kept = `post.one@${school}`
  await api.post('/v1/aliases', { address: `posts@${firm}`, targets: [old] })
  await api.post('/v1/aliases', { address: `posts@${school}`, targets: [old] })
  assert.equal(outcome(await limited.post(`/v1/mailboxes/${old}/rename`, { address: kept })), '200')
  assert.equal((await api.get(`/v1/domains/${firm}`)).body.postmaster_address, old)
  assert.equal((await api.get('/v1/server')).body.postmaster_address, old)
  assert.deepEqual((await api.get(`/v1/aliases/posts@${firm}`)).body.targets, [old])
  assert.deepEqual((await api.get(`/v1/aliases/posts@${school}`)).body.targets, [kept])
  assert.deepEqual(await recipients(`posts@${firm}`), [kept], 'over the alias that is kept')
  assert.equal(await rename(kept, old), old)
  const now = await rename(old, `post.two@${school}`)
  assert.equal((await api.get(`/v1/domains/${firm}`)).body.postmaster_address, now)
  assert.equal((await api.get('/v1/server')).body.postmaster_address, now)
  for (const action of ['domain.update', 'server.update']) {
    const { body } = await api.get(`/v1/audit-events?action=${action}&limit=1`)
    const { before, after } = body.items[0]
    assert.deepEqual([before, after], [{ postmaster_address: old }, { postmaster_address: now }], action)
  }
})

test('a name that the mailbox held in one domain is its own in another', async () => {
  const old = await create(`rui@${school}`)
  const middle = await rename(old, `rui.abe@${school}`)
  const now = await rename(middle, `rui@${firm}`)
  const alias = await api.get(`/v1/aliases/${old}`)
  assert.deepEqual([alias.body.targets, alias.body.holds_name], [[now], false])
  assert.deepEqual((await api.get(`/v1/aliases/${middle}`)).body.targets, [now])
})

test('an alias that goes to somebody else as well holds its name and does not give way', async () => {
  const old = await create(`yui@${school}`)
  const other = await create(`yui.friend@${school}`)
  const now = await rename(old, `yui.abe@${school}`)
  await api.patch(`/v1/aliases/${old}`, { targets: [now, other] })
  for (const [address, expected] of [
    [old, '409 alias-exists'],
    [`yui@${firm}`, '409 name-taken'],
  ])
    assert.equal(outcome(await api.post(`/v1/mailboxes/${now}/rename`, { address })), expected)
})

test('nobody who has the address next gets mail of the old ones: a purge takes these along', async () => {
  const first = await create(`ami@${school}`)
  const second = await rename(first, `ami.abe@${firm}`)
  const now = await rename(second, `ami.ito@${school}`)
  await api.post('/v1/aliases', { address: `amis@${school}`, targets: [now] })
  await api.delete(`/v1/mailboxes/${now}`)
  assert.deepEqual((await api.get(`/v1/aliases/${first}`)).body.broken_targets, [now], 'while it is deleted')
  assert.equal(outcome(await api.delete(`/v1/mailboxes/${now}?purge=true&account=delete`)), '204')
  for (const alias of [first, second]) assert.equal(await aliasAt(alias), '404 alias-not-found')
  assert.equal(await aliasAt(`amis@${school}`), '200', 'what somebody made stays')
  const { body } = await api.get(`/v1/audit-events?action=alias.delete&object=${first}`)
  assert.deepEqual(body.items[0].before, { targets: [now], send_as: false, holds_name: true })
  await create(now)
  assert.deepEqual(await recipients(first), [])
  await create(first)
})

test('so does the purge of a whole domain', async () => {
  await api.post('/v1/domains', { name: 'brief.jp' })
  const old = await create(`ken@${school}`)
  const inside = await rename(old, 'ken.abe@brief.jp')
  const now = await rename(inside, 'ken.ito@brief.jp')
  const path = '/v1/domains/brief.jp?mailboxes=delete&expect=1&purge=true&accounts=delete'
  assert.equal(outcome(await api.delete(path)), '204')
  assert.equal(await aliasAt(old), '404 alias-not-found')
  await api.post('/v1/domains', { name: 'brief.jp' })
  for (const address of [now, inside]) await create(address)
  await create(old)
})

test('a password-file mailbox is renamed too, and leaves a name that is held', async () => {
  await api.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
  const old = await create(`file@${school}`, { authentication: 'password_file' })
  const now = await rename(old, `file.with-a-long-name-of-more@${school}`)
  const account = await api.get(`/v1/accounts/${now.split('@')[0]}`)
  assert.deepEqual([account.body.authentication, account.body.mailbox], ['password_file', now])
  assert.equal(outcome(await api.post('/v1/accounts', { name: 'file', no_password: true })), '409 name-taken')
})

test('an old address in another domain goes with a purge, and an alias of the same name that somebody made does not', async () => {
  const old = await create(`nao@${school}`)
  const now = await rename(old, `nao@${firm}`)
  await api.post('/v1/domains', { name: 'made.jp' })
  await api.post('/v1/aliases', { address: 'nao@made.jp', targets: [now] })
  assert.equal(outcome(await api.delete(`/v1/mailboxes/${now}?purge=true&account=delete`)), '204')
  assert.equal(outcome(await api.get(`/v1/aliases/${old}`)), '404 alias-not-found')
  assert.equal(outcome(await api.get('/v1/aliases/nao@made.jp')), '200')
})

test('a held name is not had by whoever its alias is pointed at', async () => {
  const old = await create(`boss@${school}`)
  const now = await rename(old, `boss.two@${school}`)
  const thief = await create(`thief@${school}`)
  const weak = await service.as({ scopes: ['mailboxes:write', 'aliases:write'] })
  const refused = await weak.patch(`/v1/aliases/${old}`, { targets: [thief] })
  assert.equal(outcome(refused), '403 insufficient-scope')
  await api.patch(`/v1/aliases/${old}`, { targets: [thief] })
  const taken = await api.post(`/v1/mailboxes/${thief}/rename`, { address: old })
  assert.equal(outcome(taken), '409 alias-exists')
  await api.patch(`/v1/aliases/${old}`, { targets: [now] })
  assert.equal(await rename(now, old), old)
})
