import assert from 'node:assert/strict'
import { before, beforeEach, describe, test } from 'node:test'
import type { Scope } from '../../src/scopes.ts'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['own.jp', 'brand.jp'] })
const path = '/v1/aliases'

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['own.jp', 'foreign.jp', 'second.jp']) await admin.post('/v1/domains', { name })
  await admin.post('/v1/domains', { name: 'brand.jp', alias_of: 'foreign.jp' })
  for (const address of ['user1@own.jp', 'user2@own.jp', 'user3@foreign.jp', 'gone@own.jp'])
    assert.equal(outcome(await admin.post('/v1/mailboxes', { address, generate_password: true })), '201')
  await admin.delete('/v1/mailboxes/gone@own.jp')
})

let serial = 0
let address = ''
beforeEach(() => {
  address = `alias${++serial}@own.jp`
})

function create(body: object = {}, client = admin) {
  return client.post(path, { address, targets: ['user1@own.jp'], ...body })
}

async function created(name: string, ...targets: string[]): Promise<string> {
  assert.equal(outcome(await create({ address: name, targets })), '201', name)
  return name
}

describe('create', () => {
  test('gives the alias back, and it is there', async () => {
    const targets = ['User1@OWN.jp', 'desk@partner.example', 'user1@own.jp']
    const made = await create({ targets, send_as: true })
    assert.equal(outcome(made), '201')
    const { created_at, updated_at, ...members } = made.body
    assert.equal(created_at, updated_at)
    assert.deepEqual(members, {
      address,
      targets: ['user1@own.jp', 'desk@partner.example'],
      send_as: true,
      broken_targets: [],
      holds_name: false,
    })
    assert.equal(made.headers.get('location'), `${path}/${address}`)
    const got = await admin.get(`${path}/${address.toUpperCase()}`)
    assert.deepEqual([got.body, got.etag], [made.body, made.etag])
  })

  test('gives the catch-all of a domain', async () => {
    const made = await create({ address: '@Second.jp', allow_role_name: true })
    assert.deepEqual([outcome(made), made.body.address], ['201', '@second.jp'])
    assert.equal(outcome(await admin.get(`${path}/@second.jp`)), '200')
    assert.equal(outcome(await create({ address: '@second.jp', allow_role_name: true })), '409 alias-exists')
    assert.equal(outcome(await admin.delete(`${path}/%40second.jp`)), '204')
  })

  test('takes the same local part in every domain, also where a mailbox has it elsewhere', async () => {
    for (const domain of ['own.jp', 'foreign.jp']) await created(`shared${serial}@${domain}`, 'user1@own.jp')
    await created('user1@foreign.jp', 'user1@own.jp')
    await created('user3@own.jp', 'user3@foreign.jp')
    assert.equal(
      outcome(
        await admin.post('/v1/mailboxes', { address: `shared${serial}@second.jp`, generate_password: true }),
      ),
      '201',
    )
  })

  test('does it once under an idempotency key', async () => {
    const once = { headers: { 'idempotency-key': `alias-${serial}` } }
    const body = { address, targets: ['user1@own.jp'] }
    const first = await admin.post(path, body, once)
    const again = await admin.post(path, body, once)
    assert.deepEqual([outcome(first), outcome(again)], ['201', '201'])
    assert.deepEqual(again.body, first.body)
    assert.equal(again.headers.get('idempotency-replayed'), 'true')
  })

  const refusals: [body: object, expected: string, pointer?: string][] = [
    [{ address: 'a b@own.jp' }, '422 invalid-name', '/address'],
    [{ address: 'own.jp' }, '422 invalid-address', '/address'],
    [{ address: '@own' }, '422 invalid-address', '/address'],
    [{ address: '@' }, '422 invalid-address', '/address'],
    [{ address: 'x@nothing.jp' }, '422 unknown-domain', '/address'],
    [{ address: '@nothing.jp', allow_role_name: true }, '422 unknown-domain', '/address'],
    [{ address: 'x@brand.jp' }, '422 alias-domain', '/address'],
    [{ address: '@brand.jp', allow_role_name: true }, '422 alias-domain', '/address'],
    [{ address: 'admin@own.jp' }, '422 role-name-refused', '/address'],
    [{ address: '@own.jp' }, '422 role-name-refused', '/address'],
    [{ address: '@own.jp', allow_role_name: true, send_as: true }, '422 send-as-refused', '/send_as'],
    [{ address: 'user1@own.jp' }, '409 mailbox-exists'],
    [{ address: 'gone@own.jp' }, '409 mailbox-deleted'],
    [{ targets: [] }, '400 invalid-request'],
    [{ targets: Array.from({ length: 101 }, (_, i) => `a${i}@x.example`) }, '400 invalid-request'],
    [{ targets: ['user1@own.jp', 'user1'] }, '422 invalid-address', '/targets/1'],
    [{ targets: ['user1@own.jp', '@own.jp'] }, '422 invalid-address', '/targets/1'],
    [{ targets: ['user1@own.jp', 'nobody@own.jp'] }, '422 unknown-target', '/targets/1'],
    [{ targets: ['gone@own.jp'] }, '422 unknown-target', '/targets/0'],
    [{ targets: ['+x@own.jp'] }, '422 unknown-target', '/targets/0'],
    [{ targets: ['nobody@brand.jp'] }, '422 unknown-target', '/targets/0'],
    [{ targets: ['user3@second.jp'] }, '422 unknown-target', '/targets/0'],
    [{ no_such_member: 1 }, '400 invalid-request'],
    [{ broken_targets: [] }, '400 invalid-request'],
  ]
  for (const [body, expected, pointer] of refusals) {
    test(`refuses ${JSON.stringify(body).slice(0, 80)} with ${expected}`, async () => {
      const refused = await create(body)
      assert.equal(outcome(refused), expected)
      if (pointer) assert.equal(refused.body.errors[0].pointer, pointer)
      assert.equal(outcome(await admin.get(`${path}/${address}`)), '404 alias-not-found')
    })
  }

  test('says what it collided with', async () => {
    const { body: deleted } = await create({ address: 'gone@own.jp' })
    assert.equal(deleted.conflict.address, 'gone@own.jp')
    assert.ok(Date.parse(deleted.conflict.purge_at) > Date.now())
    await create()
    assert.deepEqual((await create()).body.conflict, { kind: 'alias', address })
    const mailbox = await admin.post('/v1/mailboxes', { address, generate_password: true })
    assert.equal(outcome(mailbox), '409 alias-exists')
    const ensured = await admin.put(`/v1/mailboxes/${address}`, { generate_password: true })
    assert.equal(outcome(ensured), '409 alias-exists')
  })

  test('takes an alias, a detail and an address of an alias domain as targets', async () => {
    await created(address, 'user1@own.jp')
    const targets = [address, 'user2+list@own.jp', 'user3@brand.jp']
    const { body } = await create({ address: `other-${address}`, targets })
    assert.deepEqual([body.targets, body.broken_targets], [targets, []])
  })
})

describe('loops and limits', () => {
  test('an alias is no target of itself, by whatever name', async () => {
    const [name] = address.split('@')
    for (const target of [address, `${name}+x@own.jp`])
      assert.equal(outcome(await create({ targets: [target] })), '409 alias-loop')
    const loop = `${name}@foreign.jp`
    await created(loop, 'user1@own.jp')
    const patched = await admin.patch(`${path}/${loop}`, { targets: ['user1@own.jp', `${name}@brand.jp`] })
    assert.equal(outcome(patched), '409 alias-loop')
    assert.deepEqual((await admin.get(`${path}/${loop}`)).body.targets, ['user1@own.jp'])
  })

  test('mail never comes back through several aliases', async () => {
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => `${letter}-${address}`)
    await created(c!, 'user1@own.jp')
    await created(b!, c!)
    await created(a!, b!, 'user2@own.jp')
    assert.equal(outcome(await admin.patch(`${path}/${c}`, { targets: [a] })), '409 alias-loop')
    assert.equal(outcome(await admin.patch(`${path}/${b}`, { targets: [c, a] })), '409 alias-loop')
  })

  test('mail passes five aliases and not six, whichever end is made last', async () => {
    const chain = Array.from({ length: 6 }, (_, i) => `c${i}-${address}`)
    await created(chain[0]!, 'user1@own.jp')
    for (const [i, one] of chain.slice(1, 5).entries()) await created(one, chain[i]!)
    assert.equal(outcome(await create({ address: chain[5], targets: [chain[4]] })), '409 alias-limit-reached')
    const end = await created(`end-${address}`, 'user2@own.jp')
    assert.equal(
      outcome(await admin.patch(`${path}/${chain[0]}`, { targets: [end] })),
      '409 alias-limit-reached',
    )
  })

  test('no alias reaches more than 1000 targets', async () => {
    const many = (n: number) => Array.from({ length: 100 }, (_, i) => `t${n}-${i}@elsewhere.example`)
    const lists = Array.from({ length: 10 }, (_, n) => `l${n}-${address}`)
    for (const [n, one] of lists.entries()) await created(one, ...many(n))
    const all = await created(`all-${address}`, ...lists.slice(0, 9))
    const refused = await admin.patch(`${path}/${all}`, { targets: lists })
    assert.equal(outcome(refused), '409 alias-limit-reached')
    const above = await created(`above-${address}`, all)
    const grown = await admin.patch(`${path}/${lists[0]}`, { targets: [...many(0).slice(1), lists[9]] })
    assert.equal(outcome(grown), '409 alias-limit-reached', `${above} reaches too many now`)
  })
})

describe('change and delete', () => {
  test('replaces the targets, and changes nothing where nothing changes', async () => {
    const { etag } = await create()
    const one = `${path}/${address}`
    const same = await admin.patch(one, { targets: ['USER1@own.jp'], send_as: false })
    assert.deepEqual([outcome(same), same.etag], ['200', etag])
    const other = await admin.patch(one, { targets: ['user2@own.jp'], send_as: true })
    assert.deepEqual([other.body.targets, other.body.send_as], [['user2@own.jp'], true])
    assert.notEqual(other.etag, etag)
    const late = await admin.patch(one, { send_as: false }, { headers: { 'if-match': etag } })
    assert.equal(outcome(late), '412 precondition-failed')
    const merge = { headers: { 'content-type': 'application/merge-patch+json', 'if-match': other.etag } }
    assert.equal((await admin.patch(one, { send_as: false }, merge)).body.send_as, false)
  })

  const refusals: [body: object, expected: string][] = [
    [{ targets: null }, '400 invalid-request'],
    [{ targets: [] }, '400 invalid-request'],
    [{ targets: ['x'] }, '422 invalid-address'],
    [{ targets: ['user1@own.jp', 'nobody@own.jp'] }, '422 unknown-target'],
    [{ send_as: null }, '400 invalid-request'],
    [{ address: 'other@own.jp' }, '400 invalid-request'],
  ]
  for (const [body, expected] of refusals) {
    test(`refuses ${JSON.stringify(body)} with ${expected}`, async () => {
      const { etag } = await create()
      assert.equal(outcome(await admin.patch(`${path}/${address}`, body)), expected)
      assert.equal((await admin.get(`${path}/${address}`)).etag, etag)
    })
  }

  test('nobody sends as a catch-all', async () => {
    await create({ address: '@second.jp', allow_role_name: true })
    assert.equal(outcome(await admin.patch(`${path}/@second.jp`, { send_as: true })), '422 send-as-refused')
    await admin.delete(`${path}/@second.jp`)
  })

  test('frees the address', async () => {
    const { etag } = await create()
    const one = `${path}/${address}`
    const late = await admin.delete(one, { headers: { 'if-match': '"another"' } })
    assert.equal(outcome(late), '412 precondition-failed')
    assert.equal(outcome(await admin.delete(one, { headers: { 'if-match': etag } })), '204')
    assert.equal(outcome(await admin.delete(one)), '404 alias-not-found')
    assert.equal(outcome(await admin.patch(one, { send_as: true })), '404 alias-not-found')
    const mailbox = await admin.post('/v1/mailboxes', { address, generate_password: true })
    assert.equal(outcome(mailbox), '201')
  })

  test('what cannot be an alias is none', async () => {
    for (const one of ['x', 'a b@own.jp', '@', '@x', 'user1@own.jp', '@own.jp', 'a@b@own.jp'])
      assert.equal(outcome(await admin.get(`${path}/${encodeURIComponent(one)}`)), '404 alias-not-found', one)
  })

  test('keeps a broken target that was there, and shows it', async () => {
    const mailbox = `brief${serial}@own.jp`
    await admin.post('/v1/mailboxes', { address: mailbox, generate_password: true })
    await create({ targets: [mailbox, 'user1@own.jp'] })
    const nested = await created(`nested-${address}`, address)
    await admin.delete(`/v1/mailboxes/${mailbox}`)
    const got = await admin.get(`${path}/${address}`)
    assert.deepEqual(got.body.broken_targets, [mailbox])
    const changed = await admin.patch(`${path}/${address}`, { targets: [mailbox, 'user2@own.jp'] })
    assert.deepEqual([outcome(changed), changed.body.broken_targets], ['200', [mailbox]])
    await admin.patch(`${path}/${address}`, { targets: [mailbox] })
    assert.deepEqual((await admin.get(`${path}/${nested}`)).body.broken_targets, [address])
    await admin.post(`/v1/mailboxes/${mailbox}/restore`)
    for (const one of [address, nested])
      assert.deepEqual((await admin.get(`${path}/${one}`)).body.broken_targets, [])
  })

  test('an alias that a rename left frees the held name, for which it takes more', async () => {
    const [name] = address.split('@')
    await create()
    await service.admin.query('update app.addresses set holds_name = true where name = $1', [name])
    await service.admin.query(
      `insert into app.accounts (name, state, authentication) values ($1, 'held', 'local')`,
      [name],
    )
    assert.equal((await admin.get(`${path}/${address}`)).body.holds_name, true)
    const mailbox = { address: `${name}@foreign.jp`, generate_password: true }
    assert.equal(outcome(await admin.post('/v1/mailboxes', mailbox)), '409 name-taken')
    const writer = await service.as({ scopes: ['aliases:write'] })
    assert.equal(outcome(await writer.delete(`${path}/${address}`)), '403 insufficient-scope')
    const purger = await service.as({ scopes: ['aliases:write', 'mailboxes:purge'] })
    assert.equal(outcome(await purger.delete(`${path}/${address}`)), '204')
    assert.equal(outcome(await admin.post('/v1/mailboxes', mailbox)), '201')
  })
})

describe('rights', () => {
  const as = (...scopes: Scope[]) => service.as({ scopes })

  test('role names and catch-alls need names:reserved, to be made and to be sent elsewhere', async () => {
    const writer = await as('aliases:write')
    const reserved = await as('aliases:write', 'names:reserved')
    for (const role of [`admin@second.jp`, '@second.jp']) {
      const body = { address: role, targets: ['user1@own.jp'], allow_role_name: true }
      assert.equal(outcome(await writer.post(path, body)), '403 insufficient-scope')
      assert.equal(outcome(await reserved.post(path, body)), '201')
      const change = { targets: ['user2@own.jp'] }
      assert.equal(outcome(await writer.patch(`${path}/${role}`, change)), '403 insufficient-scope')
      assert.equal(outcome(await writer.patch(`${path}/${role}`, { send_as: false })), '200')
      assert.equal(outcome(await reserved.patch(`${path}/${role}`, change)), '200')
      assert.equal(outcome(await writer.delete(`${path}/${role}`)), '204')
    }
  })

  test('forwarding needs its own scope, before a replay too', async () => {
    const writer = await as('aliases:write')
    const forwarder = await as('aliases:write', 'forwarding:write')
    const body = { address, targets: ['user1@own.jp', 'me@private.example'] }
    const once = { headers: { 'idempotency-key': `forward-${serial}` } }
    assert.equal(outcome(await writer.post(path, body, once)), '403 insufficient-scope')
    assert.equal(outcome(await forwarder.post(path, body, once)), '201')
    assert.equal(outcome(await writer.post(path, body, once)), '403 insufficient-scope')
    const more = { targets: [...body.targets, 'you@private.example'] }
    assert.equal(outcome(await writer.patch(`${path}/${address}`, more)), '403 insufficient-scope')
    // what somebody allowed stays
    const local = { targets: ['me@private.example', 'user2@own.jp'] }
    assert.equal(outcome(await writer.patch(`${path}/${address}`, local)), '200')
    assert.equal(outcome(await writer.patch(`${path}/${address}`, { targets: ['user2@own.jp'] })), '200')
    assert.equal(outcome(await writer.patch(`${path}/${address}`, local)), '403 insufficient-scope')
  })

  test('forwarding goes to the allowed domains only', async () => {
    await admin.patch('/v1/server', { forward_allowed_domains: ['partner.example'] })
    await created(address, 'desk@partner.example')
    for (const target of ['me@private.example', 'me@sub.partner.example']) {
      const refused = await create({ address: `x-${address}`, targets: ['user1@own.jp', target] })
      assert.equal(outcome(refused), '422 forwarding-refused')
      assert.equal(refused.body.errors[0].pointer, '/targets/1')
      const patched = await admin.patch(`${path}/${address}`, { targets: ['desk@partner.example', target] })
      assert.equal(outcome(patched), '422 forwarding-refused')
    }
    await admin.patch('/v1/server', { forward_allowed_domains: [] })
    assert.equal(outcome(await admin.patch(`${path}/${address}`, { send_as: true })), '200')
    await admin.patch('/v1/server', { forward_allowed_domains: null })
  })
})

describe('a caller limited to some domains', () => {
  test('sends mail to its own addresses, and elsewhere only as anybody outside could be', async () => {
    const local = await service.as({ domains: ['own.jp', 'brand.jp'], scopes: ['aliases:write'] })
    assert.equal(outcome(await create({}, local)), '201')
    const foreigners = ['user3@foreign.jp', 'nobody@foreign.jp', 'nobody@nothing.jp', 'user3@brand.jp']
    for (const target of [...foreigners, 'nobody@brand.jp']) {
      const body = { address: `x-${address}`, targets: [target] }
      assert.equal(outcome(await local.post(path, body)), '403 insufficient-scope', target)
      const made = await limited.post(path, body)
      assert.deepEqual([outcome(made), made.body.broken_targets], ['201', []], target)
      assert.equal(outcome(await limited.delete(`${path}/x-${address}`)), '204')
    }
    await admin.patch('/v1/server', { forward_allowed_domains: ['partner.example'] })
    for (const target of foreigners) {
      const refused = await limited.post(path, { address: `x-${address}`, targets: [target] })
      assert.equal(outcome(refused), '422 forwarding-refused', target)
    }
    await admin.patch('/v1/server', { forward_allowed_domains: null })
  })

  test('has no alias outside its domains, and cannot make one', async () => {
    await created(`foreign${serial}@foreign.jp`, 'user3@foreign.jp')
    const theirs = { address: `foreign${serial}@foreign.jp`, targets: ['user1@own.jp'] }
    assert.equal(outcome(await limited.post(path, theirs)), '422 unknown-domain')
    for (const domain of ['foreign.jp', 'nothing.jp']) {
      const one = `${path}/foreign${serial}@${domain}`
      assert.equal(outcome(await limited.get(one)), '404 alias-not-found')
      assert.equal(outcome(await limited.patch(one, { targets: ['nobody@own.jp'] })), '404 alias-not-found')
      assert.equal(outcome(await limited.delete(one)), '404 alias-not-found')
    }
  })

  test('is not told whether what an administrator aimed at elsewhere is there', async () => {
    await admin.post('/v1/mailboxes', { address: `away${serial}@foreign.jp`, generate_password: true })
    await created(address, `away${serial}@foreign.jp`, 'user1@own.jp')
    const before = (await limited.get(`${path}/${address}`)).body
    await admin.delete(`/v1/mailboxes/away${serial}@foreign.jp`)
    assert.deepEqual((await limited.get(`${path}/${address}`)).body, before)
    assert.deepEqual((await admin.get(`${path}/${address}`)).body.broken_targets, [
      `away${serial}@foreign.jp`,
    ])
  })

  test('learns nothing of loops and limits outside; the mail does not loop', async () => {
    const [name] = address.split('@')
    const back = await created(`${name}@foreign.jp`, 'user3@foreign.jp')
    await create({ targets: [back] }, limited)
    assert.equal(outcome(await admin.patch(`${path}/${back}`, { targets: [address] })), '409 alias-loop')
    await admin.delete(`${path}/${address}`)
    await created(`here-${address}`, 'user1@own.jp')
    await admin.patch(`${path}/${back}`, { targets: [`here-${address}`] })
    const closed = await limited.patch(`${path}/here-${address}`, { targets: [back, 'user2@own.jp'] })
    assert.equal(outcome(closed), '200')
    const { rows } = await service.admin.query('select mail.alias($1, $2) as r', [`here-${name}`, 'own.jp'])
    assert.deepEqual(rows, [{ r: 'user2@own.jp' }])
  })
})

test('goes when its domain is removed, and comes back with a restored one', async () => {
  await admin.post('/v1/domains', { name: 'brief.jp' })
  await created('only@brief.jp', 'user1@own.jp')
  assert.equal(outcome(await admin.delete('/v1/domains/brief.jp')), '204')
  assert.equal(outcome(await admin.get(`${path}/only@brief.jp`)), '404 alias-not-found')
  await admin.post('/v1/domains', { name: 'brief.jp' })
  assert.equal(outcome(await admin.get(`${path}/only@brief.jp`)), '404 alias-not-found')
  await created('only@brief.jp', 'user1@own.jp')
  await admin.post('/v1/mailboxes', { address: 'user9@brief.jp', generate_password: true })
  await admin.delete('/v1/domains/brief.jp?mailboxes=delete&expect=1')
  assert.equal(outcome(await admin.get(`${path}/only@brief.jp`)), '404 alias-not-found')
  assert.equal(outcome(await create({ address: 'only@brief.jp' })), '422 unknown-domain')
  await admin.post('/v1/domains/brief.jp/restore')
  assert.equal(outcome(await admin.get(`${path}/only@brief.jp`)), '200')
  await service.admin.query(`update app.addresses set holds_name = true where name = 'only'`)
  await service.admin.query(
    `insert into app.accounts (name, state, authentication) values ('only', 'held', 'local')`,
  )
  await admin.delete('/v1/domains/brief.jp?mailboxes=delete&expect=1')
  await admin.delete('/v1/mailboxes/user9@brief.jp?purge=true')
  const { rows } = await service.admin.query(
    `select name from app.addresses where domain = 'brief.jp' union all select name from app.accounts where state = 'held'`,
  )
  assert.deepEqual(rows, [])
})
