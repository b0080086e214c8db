import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createClient, outcome } from '../support/client.ts'
import { startReplica, startService } from '../support/service.ts'

const service = await startService()
const api = await service.as()
const { admin } = service
const school = 'school.jp'
const firm = 'firm.jp'

before(async () => {
  await api.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of [school, firm]) await api.post('/v1/domains', { name })
})

let serial = 0
async function newMailbox(values: object = {}, domain = school) {
  const name = `person${++serial}`
  const { body } = await api.post('/v1/mailboxes', {
    address: `${name}@${domain}`,
    generate_password: true,
    ...values,
  })
  return { name, address: `${name}@${domain}`, id: body.id as string }
}

const rename = (from: string, body: object, as = api, headers = {}) =>
  as.post(`/v1/mailboxes/${from}/rename`, body, { headers })

async function verifiersOf(name: string): Promise<Record<string, string>> {
  const { rows } = await admin.query('select mechanism, verifier from app.verifiers where name = $1', [name])
  return Object.fromEntries(rows.map(({ mechanism, verifier }) => [mechanism, verifier]))
}

async function jobsFor(mask: string): Promise<number> {
  const { rows } = await admin.query(
    `select from graphile_worker._private_jobs where key = 'end-sessions:' || $1`,
    [mask],
  )
  return rows.length
}

describe('a rename', () => {
  test('moves both logins, the verifiers, the usage and the end of the logins, and keeps the rest', async () => {
    const values = {
      quota_bytes: 5_000,
      forward_to: ['x@elsewhere.example'],
      account: { display_name: 'Anna', external_id: '7', login_until: '2090-01-01T00:00:00Z' },
    }
    const { name, address, id } = await newMailbox(values)
    await admin.query(`insert into mail.usage (username, bytes, messages) values ($1, 10, 1)`, [address])
    await admin.query(`insert into mail.last_login (username, at_epoch) values ($1, 1700000000)`, [address])
    const old = (await api.get(`/v1/mailboxes/${address}`)).body
    const verifiers = await verifiersOf(name)
    const reply = await rename(address, { address: `${name}.suzuki@${school}` })
    assert.equal(outcome(reply), '200')
    const to = `${name}.suzuki`
    assert.deepEqual(
      { ...reply.body, updated_at: null },
      {
        ...old,
        address: `${to}@${school}`,
        name: to,
        account: { ...old.account, name: to },
        credentials: {
          ...old.credentials,
          clear_text: { ...old.credentials.clear_text, username: `${to}@${school}` },
          secure_password: { ...old.credentials.secure_password, username: to },
        },
        usage: { ...old.usage, updated_at: reply.body.usage.updated_at },
        updated_at: null,
      },
    )
    assert.deepEqual((await api.get(`/v1/mailboxes/${id}`)).body, reply.body)
    assert.deepEqual(await verifiersOf(to), verifiers)
    assert.deepEqual(await verifiersOf(name), {})
    assert.equal(outcome(await api.get(`/v1/mailboxes/${address}`)), '404 mailbox-not-found')
    assert.equal(outcome(await api.get(`/v1/accounts/${name}`)), '404 account-not-found')
    assert.equal(await jobsFor(address), 1)
    const { rows } = await admin.query(
      `select key from graphile_worker._private_jobs where key like 'end-logins:' || $1 || '%'`,
      [name],
    )
    assert.deepEqual(rows, [{ key: `end-logins:${to}` }])
  })

  test('keeps the old address as an alias and its name from everybody else', async () => {
    const { name, address } = await newMailbox()
    const to = `${name}-new@${school}`
    await rename(address, { address: to })
    const alias = await api.get(`/v1/aliases/${address}`)
    assert.deepEqual([alias.body.targets, alias.body.holds_name, alias.body.broken_targets], [[to], true, []])
    const secret = { generate_password: true }
    assert.equal(outcome(await api.post('/v1/mailboxes', { address, ...secret })), '409 alias-exists')
    const elsewhere = { address: `${name}@${firm}`, ...secret }
    assert.equal(outcome(await api.post('/v1/mailboxes', elsewhere)), '409 name-taken')
    assert.equal(outcome(await api.post('/v1/accounts', { name, ...secret })), '409 name-taken')
    const { rows } = await admin.query(`select mail.alias($1, $2) as goes_to`, [name, school])
    assert.deepEqual(rows, [{ goes_to: to }])
    const weak = await service.as({ scopes: ['aliases:write'] })
    assert.equal(outcome(await weak.delete(`/v1/aliases/${address}`)), '403 insufficient-scope')
    assert.equal(outcome(await api.delete(`/v1/aliases/${address}`)), '204')
    assert.equal(outcome(await api.post('/v1/mailboxes', { address, ...secret })), '201')
  })

  test('without the alias frees the name at once, for which it takes more', async () => {
    const { name, address } = await newMailbox()
    const body = { address: `${name}-new@${school}`, keep_old_as_alias: false }
    const weak = await service.as({ scopes: ['mailboxes:write'] })
    assert.equal(outcome(await rename(address, body, weak)), '403 insufficient-scope')
    assert.equal(outcome(await rename(address, body)), '200')
    assert.equal(outcome(await api.get(`/v1/aliases/${address}`)), '404 alias-not-found')
    assert.equal(outcome(await api.post('/v1/mailboxes', { address, generate_password: true })), '201')
  })

  test('to another domain keeps the bare login, and what the domain does not list is gone', async () => {
    await api.post('/v1/domains', { name: 'plain.jp', secure_password_mechanisms: [] })
    const { name, address } = await newMailbox()
    const reply = await rename(address, { address: `${name}@plain.jp` })
    assert.equal(outcome(reply), '200')
    assert.equal(reply.body.credentials.secure_password, null)
    assert.deepEqual(Object.keys(await verifiersOf(name)), ['ARGON2ID'])
    const alias = await api.get(`/v1/aliases/${address}`)
    assert.deepEqual([alias.body.targets, alias.body.holds_name], [[`${name}@plain.jp`], false])
    assert.equal(outcome(await rename(`${name}@plain.jp`, { address })), '200', 'and back')
    assert.equal(outcome(await api.get(`/v1/aliases/${name}@plain.jp`)), '200')
    assert.equal(outcome(await api.get(`/v1/aliases/${address}`)), '404 alias-not-found')
  })

  test('and back again gives the old name back, and the new one is held', async () => {
    const { name, address, id } = await newMailbox()
    const other = `${name}-x@${school}`
    await rename(address, { address: other })
    const back = await rename(other, { address })
    assert.deepEqual([outcome(back), back.body.id, back.body.address], ['200', id, address])
    assert.equal(outcome(await api.get(`/v1/aliases/${address}`)), '404 alias-not-found')
    assert.deepEqual((await api.get(`/v1/aliases/${other}`)).body.targets, [address])
  })

  test('takes along what sends to the old address, so that no chain grows', async () => {
    const { name, address } = await newMailbox()
    const friend = await newMailbox({ forward_to: [address] })
    await api.post('/v1/aliases', { address: `list-${name}@${school}`, targets: [address, friend.address] })
    await api.patch(`/v1/domains/${firm}`, { postmaster_address: address })
    const first = `${name}-1@${school}`
    const second = `${name}-2@${school}`
    await rename(address, { address: first })
    await rename(first, { address: second })
    assert.deepEqual((await api.get(`/v1/aliases/list-${name}@${school}`)).body.targets, [
      second,
      friend.address,
    ])
    assert.deepEqual((await api.get(`/v1/mailboxes/${friend.address}`)).body.forward_to, [second])
    assert.equal((await api.get(`/v1/domains/${firm}`)).body.postmaster_address, second)
    assert.deepEqual((await api.get(`/v1/aliases/${address}`)).body.targets, [second])
    assert.deepEqual((await api.get(`/v1/aliases/${first}`)).body.targets, [second])
    const { body } = await api.get(`/v1/audit-events?action=mailbox.rename&object=${first}`)
    assert.deepEqual(body.items[0].after, { address: second, kept_as_alias: true })
  })

  test('to the address that it has changes nothing', async () => {
    const { address } = await newMailbox()
    const before = await api.get(`/v1/mailboxes/${address}`)
    const reply = await rename(address.toUpperCase(), { address })
    assert.deepEqual([outcome(reply), reply.body], ['200', before.body])
    assert.equal(reply.headers.get('etag'), before.headers.get('etag'))
  })
})

describe('a rename is refused', () => {
  test("where the address or the name is somebody else's, as a create is", async () => {
    const { address } = await newMailbox()
    const other = await newMailbox()
    const gone = await newMailbox()
    const abroad = await newMailbox({}, firm)
    await api.delete(`/v1/mailboxes/${gone.address}`)
    await api.post('/v1/accounts', { name: 'alone', generate_password: true })
    await api.post('/v1/aliases', { address: `taken@${school}`, targets: [other.address] })
    await api.post('/v1/domains', { name: 'small.jp', mailbox_limit: 0 })
    await api.post('/v1/domains', { name: 'brand.jp', alias_of: school })
    const cases: [string, string][] = [
      [other.address, '409 mailbox-exists'],
      [gone.address, '409 mailbox-deleted'],
      [`${abroad.name}@${school}`, '409 name-taken'],
      [`alone@${school}`, '409 account-exists'],
      [`taken@${school}`, '409 alias-exists'],
      ['free@small.jp', '409 mailbox-limit-reached'],
      ['free@brand.jp', '422 alias-domain'],
      ['free@nowhere.jp', '422 unknown-domain'],
      [`twenty-one-characters@${school}`, '422 invalid-name'],
      [`admin@${school}`, '422 role-name-refused'],
      ['no address', '422 invalid-address'],
    ]
    for (const [to, expected] of cases)
      assert.equal(outcome(await rename(address, { address: to })), expected, to)
    assert.equal(outcome(await rename(gone.address, { address: `free@${school}` })), '404 mailbox-not-found')
    const stale = await rename(address, { address: `free@${school}` }, api, { 'if-match': '"other"' })
    assert.equal(outcome(stale), '412 precondition-failed')
    assert.equal(outcome(await api.get(`/v1/mailboxes/${address}`)), '200')
  })

  test('to a caller of other domains as if there were nothing', async () => {
    const { name, address } = await newMailbox()
    const abroad = await newMailbox({}, firm)
    const limited = await service.as({ domains: [school] })
    assert.equal(
      outcome(await rename(address, { address: `${name}@${firm}` }, limited)),
      '422 unknown-domain',
    )
    assert.equal(
      outcome(await rename(abroad.address, { address: `x@${school}` }, limited)),
      '404 mailbox-not-found',
    )
    const taken = await rename(address, { address: `${abroad.name}@${school}` }, limited)
    assert.deepEqual([outcome(taken), taken.body.conflict], ['409 name-taken', undefined])
    assert.equal(outcome(await rename(address, { address: `${name}-y@${school}` }, limited)), '200')
  })
})

describe('races', () => {
  test('of two renames and a create one gets the name, over two instances', async () => {
    const replica = createClient(await startReplica(service), api.token)
    for (let round = 0; round < 8; round++) {
      const [one, two] = [await newMailbox(), await newMailbox({}, firm)]
      const wanted = `wanted${round}`
      const replies = await Promise.all([
        rename(one.address, { address: `${wanted}@${school}` }),
        rename(two.address, { address: `${wanted}@${firm}` }, replica),
        api.post('/v1/mailboxes', { address: `${wanted}@${school}`, generate_password: true }),
      ])
      const won = replies.filter(({ status }) => status < 300)
      assert.equal(won.length, 1, replies.map(outcome).join())
      for (const reply of replies) assert.match(outcome(reply), /^20[01]$|^409 /)
      const left = await Promise.all([one, two].map(({ id }) => api.get(`/v1/mailboxes/${id}`)))
      assert.deepEqual(left.map(outcome), ['200', '200'], 'and no mailbox is lost')
    }
  })

  test('in a ring, with deletions beside them, leave every mailbox whole', async () => {
    const ring = await Promise.all(Array.from({ length: 8 }, () => newMailbox()))
    const addresses = ring.map(({ address }) => address)
    const replies = await Promise.all([
      ...addresses.map((address, i) => rename(address, { address: addresses[(i + 1) % 8] })),
      ...addresses.map((address, i) => rename(address, { address: `ring${i}@${firm}` })),
      ...addresses.slice(0, 3).map((address) => api.delete(`/v1/mailboxes/${address}`)),
      ...addresses.map((address) => api.patch(`/v1/mailboxes/${address}`, { locked: true })),
    ])
    for (const reply of replies) assert.match(outcome(reply), /^20[04]$|^4(04|09) /)
    const { rows } = await admin.query(
      `select m.id, m.name = a.name as has_account, exists (
         select from app.verifiers as v where v.name = m.name and v.mechanism = 'ARGON2ID') as has_verifier
       from app.mailboxes as m join app.accounts as a on a.name = m.name where m.id = any ($1)`,
      [ring.map(({ id }) => id)],
    )
    assert.equal(rows.length, 8)
    assert.ok(rows.every(({ has_account, has_verifier }) => has_account && has_verifier))
  })
})
