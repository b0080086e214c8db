import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { afterEach, before, beforeEach, describe, test } from 'node:test'
import { type Client, createClient, outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { assertOutcomes, startRaces, until } from '../support/races.ts'
import { startReplica } from '../support/service.ts'
import { type MadeToken, makeToken } from '../support/tokens.ts'

const { service, here: root, newDomain, newName, count } = await startRaces()
const { admin, url } = service
const replicaUrl = await startReplica(service)
const allScopes = [
  ...['domains:write', 'mailboxes:write', 'mailboxes:purge', 'accounts:write', 'passwords:write'],
  ...['aliases:write', 'tokens:write', 'audit:read'],
]
let domain: string
before(async () => {
  domain = await newDomain()
})
afterEach(() => assertInvariants(admin))

type Limits = Partial<Record<'deletes_per_day' | 'locks_per_day' | 'password_sets_per_day', number>>

const limitedTo = (limits: Limits, maker: Client = root): Promise<MadeToken> =>
  makeToken(url, maker, { scopes: allScopes, limits })

async function newMailboxes(number: number, where = domain): Promise<string[]> {
  const names = Array.from({ length: number }, newName)
  await admin.query(
    `with a as (insert into app.accounts (name, authentication) select unnest($1::text[]), 'local'),
       x as (insert into app.addresses (name, domain, kind, holds_name) select unnest($1::text[]), $2, 'mailbox', true)
     insert into app.mailboxes (name, domain) select unnest($1::text[]), $2`,
    [names, where],
  )
  return names.map((name) => `${name}@${where}`)
}

async function used({ id }: Pick<MadeToken, 'id'>, kind = 'deletes'): Promise<number> {
  const { rows } = await admin.query('select count from app.token_fuses where token = $1 and kind = $2', [
    id,
    kind,
  ])
  return rows[0]?.count ?? 0
}

const blown = async ({ id }: Pick<MadeToken, 'id'>) => (await root.get(`/v1/tokens/${id}`)).body.blown_fuses
const reset = (client: Client, { id }: Pick<MadeToken, 'id'>) => client.post(`/v1/tokens/${id}/reset`)
const path = (address: string) => `/v1/mailboxes/${address}`
const nameOf = (address: string) => address.split('@')[0]!

test('1,000 deletes at once through two replicas with a limit of 50 are 50 deletions', async () => {
  const token = await limitedTo({ deletes_per_day: 50 })
  const where = await newDomain()
  const addresses = await newMailboxes(1000, where)
  const other = createClient(replicaUrl, token.client.token)
  const replies = await Promise.all(
    addresses.map((address, i) => (i % 2 === 0 ? token.client : other).delete(path(address))),
  )
  const counts = assertOutcomes(replies, '204', '429 fuse-blown')
  assert.equal(counts['204'], 50)
  assert.equal(await count('mailboxes', `domain = $1 and state = 'deleted'`, where), 50)
  assert.equal(await count('audit_events', `domain = $1 and action = 'mailbox.delete'`, where), 50)
  const refused = replies.find(({ status }) => status === 429)
  assert.equal(refused?.headers.get('retry-after'), null)
  assert.deepEqual([await used(token), await blown(token)], [50, ['deletes']])
  assert.equal(await count('audit_events', `object = $1 and action = 'token.blow-fuse'`, token.id), 1)

  // blown for both replicas, and for tomorrow
  await admin.query('update app.token_fuses set day = day - 1 where token = $1', [token.id])
  const left = addresses.filter((_, i) => replies[i]?.status === 429)
  for (const client of [token.client, other])
    assert.equal(outcome(await client.delete(path(left[0]!))), '429 fuse-blown')
  assert.equal(outcome(await reset(token.client, token)), '403 insufficient-scope')
  assert.equal(outcome(await reset(root, token)), '200')
  assert.equal(outcome(await other.delete(path(left[0]!))), '204')
  assert.deepEqual([await used(token), await blown(token)], [1, []])
})

test('a blown fuse is told in the log once', async () => {
  const token = await limitedTo({ deletes_per_day: 0 })
  const [address] = await newMailboxes(1)
  for (let i = 0; i < 3; i++)
    assert.equal(outcome(await token.client.delete(path(address!))), '429 fuse-blown')
  const lines = () =>
    service.log
      .map((line) => JSON.parse(line))
      .filter(({ event, token_id }) => event === 'fuse-blown' && token_id === token.id)
  await until(() => lines().length > 0)
  assert.deepEqual(
    lines().map(({ fuse, address: from }) => [fuse, from]),
    [['deletes', '127.0.0.1']],
  )
  const { body } = await root.get(`/v1/audit-events?object=${token.id}`)
  const told = body.items.find(({ action }: { action: string }) => action === 'token.blow-fuse')
  assert.deepEqual([told.after, told.token_id], [{ fuse: 'deletes', blown: true }, token.id])
})

test('a new day begins with nothing used', async () => {
  const token = await limitedTo({ deletes_per_day: 1 })
  const addresses = await newMailboxes(2)
  assert.equal(outcome(await token.client.delete(path(addresses[0]!))), '204')
  await admin.query('update app.token_fuses set day = day - 1 where token = $1', [token.id])
  assert.equal(outcome(await token.client.delete(path(addresses[1]!))), '204')
  assert.deepEqual([await used(token), await blown(token)], [1, []])
})

describe('what counts, and what does not', () => {
  let token: MadeToken
  beforeEach(async () => {
    token = await limitedTo({ deletes_per_day: 9, locks_per_day: 9, password_sets_per_day: 9 })
  })
  type Step = [
    send: (client: Client, address: string) => Promise<{ status: number }>,
    status: number,
    used: number,
  ]
  const patch = (body: object, status: number, total: number): Step => [
    (client, address) => client.patch(path(address), body),
    status,
    total,
  ]
  const patchAccount = (body: object, total: number): Step => [
    (client, address) => client.patch(`/v1/accounts/${nameOf(address)}`, body),
    200,
    total,
  ]
  const put = (body: object, total: number): Step => [
    (client, address) => client.put(path(address), { create_account: false, ...body }),
    200,
    total,
  ]
  const cases: [string, string, Step[]][] = [
    [
      'a deletion and a purge',
      'deletes',
      [
        [(client, address) => client.delete(`${path(address)}?dry_run=true`), 204, 0],
        [(client, address) => client.delete(path(address), { headers: { 'if-match': '"x"' } }), 412, 0],
        [(client, address) => client.delete(path(address)), 204, 1],
        [(client, address) => client.delete(path(address)), 404, 1],
        [(client, address) => client.delete(`${path(address)}?purge=true`), 204, 2],
        [(client, address) => client.delete(`/v1/accounts/${nameOf(address)}`), 204, 3],
      ],
    ],
    [
      'the lock of a mailbox',
      'locks',
      [
        patch({ quota_bytes: 7 }, 200, 0),
        patch({ locked: true }, 200, 1),
        patch({ locked: true }, 200, 1),
        patch({ locked: false }, 200, 1),
        patch({ delivery: 'refuse' }, 200, 2),
        patch({ delivery: 'accept', locked: true }, 200, 3),
        put({ quota_bytes: 8 }, 3),
        put({ delivery: 'refuse' }, 4),
        put({ delivery: 'refuse' }, 4),
      ],
    ],
    [
      'the end of the logins of an account',
      'locks',
      [
        patchAccount({ display_name: 'Hanako' }, 0),
        patchAccount({ disabled: true }, 1),
        patchAccount({ disabled: true }, 1),
        patchAccount({ disabled: false }, 1),
        patchAccount({ login_until: '2040-01-01T00:00:00Z' }, 2),
        patchAccount({ login_until: '2041-01-01T00:00:00Z' }, 2),
        patchAccount({ login_from: '2030-01-01T00:00:00Z' }, 3),
        patchAccount({ login_from: null, login_until: null }, 3),
        put({ account: { login_until: '2040-01-01T00:00:00Z' } }, 4),
      ],
    ],
    [
      'a new password',
      'password_sets',
      [
        [
          (client, address) =>
            client.put(`/v1/accounts/${nameOf(address)}/password`, { generate_password: true }),
          200,
          1,
        ],
        [
          (client, address) => client.put(`/v1/accounts/${nameOf(address)}/password`, { password: 'short' }),
          422,
          1,
        ],
      ],
    ],
    [
      'the deletion of an alias, and a name that is given up',
      'deletes',
      [
        [
          (client, address) => client.post('/v1/aliases', { address: `x-${address}`, targets: [address] }),
          201,
          0,
        ],
        [(client, address) => client.delete(`/v1/aliases/x-${address}`), 204, 1],
        [(client, address) => client.post(`${path(address)}/rename`, { address: `y-${address}` }), 200, 1],
        [
          (client, address) =>
            client.post(`${path(`y-${address}`)}/rename`, {
              address: `z-${address}`,
              keep_old_as_alias: false,
            }),
          200,
          2,
        ],
      ],
    ],
  ]
  for (const [what, kind, steps] of cases) {
    test(what, async () => {
      const [address] = await newMailboxes(1)
      for (const [i, [send, status, total]] of steps.entries()) {
        assert.equal((await send(token.client, address!)).status, status, `step ${i}`)
        assert.equal(await used(token, kind), total, `step ${i}`)
      }
    })
  }

  test('a repeated request counts once', async () => {
    const [address] = await newMailboxes(1)
    const options = { headers: { 'idempotency-key': randomUUID() } }
    const body = { address: `k-${address}`, keep_old_as_alias: false }
    const { body: mailbox } = await root.get(path(address!))
    for (let i = 0; i < 2; i++)
      assert.equal((await token.client.post(`${path(mailbox.id)}/rename`, body, options)).status, 200)
    assert.equal(await used(token), 1)
  })

  test('a domain counts as its mailboxes', async () => {
    const where = await newDomain()
    await newMailboxes(4, where)
    const { client } = token
    assert.equal((await client.patch(`/v1/domains/${where}`, { locked: true })).status, 200)
    assert.equal(await used(token, 'locks'), 4)
    assert.equal((await client.patch(`/v1/domains/${where}`, { locked: true })).status, 200)
    assert.equal((await client.patch(`/v1/domains/${where}`, { locked: false })).status, 200)
    assert.equal(await used(token, 'locks'), 4)
    const refused = await client.patch(`/v1/domains/${where}`, { accepts_mail: false })
    assert.equal(outcome(refused), '200')
    assert.equal(await used(token, 'locks'), 8)
    const third = await client.patch(`/v1/domains/${where}`, { locked: true })
    assert.equal(outcome(third), '429 fuse-blown')
    assert.equal((await root.get(`/v1/domains/${where}`)).body.locked, false)
  })
})

for (const more of ['', '&purge=true']) {
  test(`a domain of more mailboxes than are left is refused whole ${more}`, async () => {
    const where = await newDomain()
    const addresses = await newMailboxes(200, where)
    const token = await limitedTo({ deletes_per_day: 50 })
    const deletion = `/v1/domains/${where}?mailboxes=delete&expect=200${more}`
    const tried = await token.client.delete(`${deletion}&dry_run=true`)
    assert.equal(outcome(tried), '429 fuse-blown')
    assert.deepEqual(await blown(token), [])
    assert.equal(outcome(await token.client.delete(deletion)), '429 fuse-blown')
    assert.equal(await count('mailboxes', `domain = $1 and state = 'active'`, where), 200)
    assert.deepEqual([await used(token), await blown(token)], [0, ['deletes']])
    assert.equal(outcome(await token.client.delete(path(addresses[0]!))), '429 fuse-blown')
    const enough = await limitedTo({ deletes_per_day: 201 })
    await root.post('/v1/aliases', { address: `team@${where}`, targets: [addresses[0]] })
    assert.equal(outcome(await enough.client.delete(deletion)), '204')
    assert.equal(await used(enough), 201)
  })
}

for (const [what, kind, send, ok] of [
  ['deleteAccount', 'deletes', (c: Client, name: string) => c.delete(`/v1/accounts/${name}`), 204],
  ['deleteAlias', 'deletes', (c: Client, name: string) => c.delete(`/v1/aliases/${name}@${domain}`), 204],
  [
    'setPassword',
    'password_sets',
    (c: Client, name: string) => c.put(`/v1/accounts/${name}/password`, { generate_password: true }),
    200,
  ],
  [
    'updateAccount',
    'locks',
    (c: Client, name: string) => c.patch(`/v1/accounts/${name}`, { disabled: true }),
    200,
  ],
  [
    'updateMailbox',
    'locks',
    (c: Client, name: string) => c.patch(`/v1/mailboxes/m-${name}@${domain}`, { locked: true }),
    200,
  ],
  [
    'ensureMailbox',
    'locks',
    (c: Client, name: string) =>
      c.put(`/v1/mailboxes/m-${name}@${domain}`, { delivery: 'refuse', create_account: false }),
    200,
  ],
  [
    'renameMailbox',
    'deletes',
    (c: Client, name: string) =>
      c.post(`/v1/mailboxes/m-${name}@${domain}/rename`, {
        address: `n-${name}@${domain}`,
        keep_old_as_alias: false,
      }),
    200,
  ],
  [
    'moveDomain',
    'deletes',
    async (c: Client, name: string) => {
      await root.post('/v1/domains', { name: `${name}.example` })
      await root.post('/v1/mailboxes', { address: `d-${name}@${name}.example`, no_password: true })
      return c.post(`/v1/domains/${name}.example/move`, { to: domain, keep_old_as_alias: false })
    },
    200,
  ],
] as const) {
  test(`${what} is refused where nothing is left, and done after a reset and a wider limit`, async () => {
    const name = newName()
    await root.post('/v1/accounts', { name, no_password: true })
    await root.post('/v1/mailboxes', { address: `m-${name}@${domain}`, no_password: true })
    await root.post('/v1/aliases', { address: `${name}@${domain}`, targets: [`m-${name}@${domain}`] })
    const token = await limitedTo({ [`${kind}_per_day`]: 0 })
    for (let i = 0; i < 2; i++) assert.equal(outcome(await send(token.client, name)), '429 fuse-blown')
    assert.deepEqual(await blown(token), [kind])
    assert.equal((await send((await limitedTo({ [`${kind}_per_day`]: 1 })).client, name)).status, ok)
  })
}

describe('a token made with a limited one', () => {
  test('has its limits, or lower ones', async () => {
    const maker = await limitedTo({ deletes_per_day: 5, locks_per_day: 0 })
    const wish = { label: 'x', scopes: ['domains:read'] }
    const same = await maker.client.post('/v1/tokens', wish)
    const none = { deletes_per_day: 5, locks_per_day: 0, password_sets_per_day: null }
    assert.deepEqual(same.body.limits, none)
    const limits = { deletes_per_day: 4, password_sets_per_day: 3 }
    const lower = await maker.client.post('/v1/tokens', { ...wish, limits })
    assert.deepEqual(lower.body.limits, { ...none, ...limits })
    const higher = await maker.client.post('/v1/tokens', { ...wish, limits: { deletes_per_day: 6 } })
    assert.equal(outcome(higher), '403 insufficient-scope')
    for (const value of [-1, 1.5, null, '3'])
      assert.equal(
        outcome(await root.post('/v1/tokens', { ...wish, limits: { deletes_per_day: value } })),
        '400 invalid-request',
      )
    assert.equal(
      outcome(await root.post('/v1/tokens', { ...wish, limits: { creates_per_day: 1 } })),
      '400 invalid-request',
    )
  })

  test('counts against it, so that ten of them delete no more than one', async () => {
    const maker = await limitedTo({ deletes_per_day: 12 })
    const children = await Promise.all(
      Array.from({ length: 5 }, () => limitedTo({ deletes_per_day: 10 }, maker.client)),
    )
    const grandchild = await limitedTo({}, children[0]!.client)
    const clients = [...children, grandchild, maker].map(({ client }) => client)
    const addresses = await newMailboxes(42)
    const replies = await Promise.all(addresses.map((address, i) => clients[i % 7]!.delete(path(address))))
    const counts = assertOutcomes(replies, '204', '429 fuse-blown')
    assert.equal(counts['204'], 12)
    assert.deepEqual([await used(maker), await blown(maker)], [12, ['deletes']])
    assert.ok((await used(children[0]!)) >= (await used(grandchild)))
    for (const child of children) assert.deepEqual(await blown(child), [])

    const spent = await limitedTo({}, maker.client)
    assert.equal(outcome(await spent.client.delete(path(addresses[0]!))), '429 fuse-blown')
    // nobody below lifts it, and nobody below is lifted in its place
    for (const { client } of [spent, grandchild])
      assert.equal(outcome(await reset(client, maker)), '403 insufficient-scope')
    assert.equal(outcome(await reset(maker.client, maker)), '403 insufficient-scope')
    assert.equal(outcome(await reset(maker.client, spent)), '200')
    const left = addresses.find((_, i) => replies[i]?.status === 429)!
    assert.equal(outcome(await spent.client.delete(path(left))), '429 fuse-blown')
    assert.equal(outcome(await reset(root, maker)), '200')
    assert.equal(outcome(await spent.client.delete(path(left))), '204')
  })

  test('blows its own fuse alone where the maker has more left', async () => {
    const maker = await limitedTo({ deletes_per_day: 10 })
    const child = await limitedTo({ deletes_per_day: 1 }, maker.client)
    const addresses = await newMailboxes(3)
    const replies = [
      await child.client.delete(path(addresses[0]!)),
      await child.client.delete(path(addresses[1]!)),
    ]
    assert.deepEqual(replies.map(outcome), ['204', '429 fuse-blown'])
    assert.deepEqual([await blown(child), await blown(maker)], [['deletes'], []])
    assert.deepEqual([await used(child), await used(maker)], [1, 1])
    assert.equal(outcome(await maker.client.delete(path(addresses[1]!))), '204')
    assert.equal(outcome(await reset(maker.client, child)), '200')
    assert.equal(outcome(await child.client.delete(path(addresses[2]!))), '204')
  })
})

describe('a reset', () => {
  test('is written down, and again changes nothing', async () => {
    const token = await limitedTo({ deletes_per_day: 3 })
    const [address] = await newMailboxes(1)
    await token.client.delete(path(address!))
    for (let i = 0; i < 2; i++) assert.equal(outcome(await reset(root, token)), '200')
    const { rows } = await admin.query(
      `select before, after from app.audit_events where object = $1 and action = 'token.reset'`,
      [token.id],
    )
    const before = { deletes: { count: 1, blown: false } }
    assert.deepEqual(rows, [{ before, after: { deletes: { count: 0, blown: false } } }])
  })

  test('reaches what the caller may see, in the version that it names', async () => {
    const token = await limitedTo({ deletes_per_day: 3 })
    const limited = await service.as({ domains: [domain] })
    assert.equal(outcome(await reset(limited, token)), '404 token-not-found')
    assert.equal(outcome(await reset(root, { id: randomUUID() })), '404 token-not-found')
    const stale = await root.post(`/v1/tokens/${token.id}/reset`, undefined, {
      headers: { 'if-match': '"x"' },
    })
    assert.equal(outcome(stale), '412 precondition-failed')
  })
})

test('tokens without limits leave no row', async () => {
  const { id, client } = await makeToken(url, root, { scopes: allScopes })
  const [address] = await newMailboxes(1)
  assert.equal(outcome(await client.delete(path(address!))), '204')
  assert.equal(await count('token_fuses', 'token = $1', id), 0)
})

test('a request that wants two is refused with what it wants in all', async () => {
  const [address] = await newMailboxes(1)
  const token = await limitedTo({ locks_per_day: 1 })
  const login_until = '2020-01-01T00:00:00Z'
  const both = await token.client.put(path(address!), { delivery: 'refuse', account: { login_until } })
  assert.equal(outcome(both), '429 fuse-blown')
  assert.deepEqual([await used(token, 'locks'), await blown(token)], [0, ['locks']])
  assert.equal((await root.get(path(address!))).body.delivery, 'accept')
})

test('a move that has nothing left to move counts nothing', async () => {
  const from = await newDomain()
  await newMailboxes(2, from)
  const token = await limitedTo({ deletes_per_day: 2 })
  const move = () => token.client.post(`/v1/domains/${from}/move`, { to: domain, keep_old_as_alias: false })
  for (let i = 0; i < 2; i++) assert.equal(outcome(await move()), '200')
  assert.deepEqual([await used(token), await blown(token)], [2, []])
  assert.equal(await count('audit_events', `object = $1 and action = 'domain.move'`, from), 2)
})

test('an account that gets an end with its mailbox counts as a lock', async () => {
  const names = [newName(), newName()]
  for (const name of names) await root.post('/v1/accounts', { name, no_password: true })
  const token = await limitedTo({ locks_per_day: 1 })
  const login_until = '2020-01-01T00:00:00Z'
  const link = (name: string) =>
    token.client.post('/v1/mailboxes', {
      address: `${name}@${domain}`,
      create_account: false,
      account: { login_until },
    })
  assert.equal(outcome(await link(names[0]!)), '201')
  assert.equal(outcome(await link(names[1]!)), '429 fuse-blown')
  assert.equal((await root.get(`/v1/accounts/${names[1]}`)).body.login_until, null)
})
