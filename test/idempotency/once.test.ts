import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { lockNumber } from '../../src/idempotency/key.ts'
import { scopes } from '../../src/scopes.ts'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { bodyFor, type DeclaredOperation, operations, pathFor, type Target } from '../support/operations.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const { admin } = service
const client = await service.as()
const domain = 'example.jp'

before(() => client.post('/v1/domains', { name: domain }))

let serial = 0
const newName = () => `once${++serial}`
const newAddress = () => `${newName()}@${domain}`

interface Sending {
  path?: string
  key?: string
  as?: Client
}

function post(body: unknown, { path = '/v1/mailboxes', key = '', as = client }: Sending): Promise<Reply> {
  return as.post(path, body, { headers: { 'idempotency-key': key } })
}

function assertReplayed(reply: Reply, first: Reply): void {
  assert.deepEqual(
    [outcome(reply), reply.headers.get('idempotency-replayed')],
    [String(first.status), 'true'],
  )
  const { generated_password: password, token, ...shown } = first.body
  const secret = password ?? token
  assert.deepEqual(reply.body, { ...shown, ...(secret && { secret_omitted: true }) })
  assert.deepEqual(
    Object.keys(reply.body),
    Object.keys({ ...shown, ...(secret && { secret_omitted: true }) }),
  )
  for (const name of ['etag', 'location', 'content-type'])
    assert.equal(reply.headers.get(name), first.headers.get(name), name)
}

async function assertFirst(reply: Promise<Reply>): Promise<Reply> {
  const first = await reply
  assert.deepEqual([outcome(first), first.headers.get('idempotency-replayed')], ['201', null])
  return first
}

async function countMailboxes(address: string): Promise<number> {
  const { rows } = await admin.query(
    `select count(*)::int as count from app.mailboxes where name || '@' || domain = $1`,
    [address],
  )
  return rows[0].count
}

/** What has to be there for an operation to succeed. */
const arrange: Record<string, (target: Target) => Promise<unknown>> = {
  async createAlias({ domain: name, mailbox }) {
    await client.post('/v1/domains', { name })
    await client.post('/v1/mailboxes', { address: mailbox, generate_password: true })
  },
  async resetToken(target) {
    target.token = (await client.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'] })).body.id
  },
  async renameMailbox({ mailbox }) {
    await client.post('/v1/mailboxes', { address: mailbox, generate_password: true })
  },
  async restoreMailbox({ mailbox }) {
    await client.post('/v1/mailboxes', { address: mailbox, generate_password: true })
    await client.delete(`/v1/mailboxes/${mailbox}`)
  },
  async moveDomain({ domain: name, account }) {
    await client.post('/v1/domains', { name })
    await client.post('/v1/mailboxes', { address: `${account}@${name}`, generate_password: true })
  },
  async restoreDomain({ domain: name, account }) {
    await client.post('/v1/domains', { name })
    await client.post('/v1/mailboxes', { address: `${account}@${name}`, generate_password: true })
    await client.delete(`/v1/domains/${name}?mailboxes=delete&expect=1`)
  },
}

const posts = operations.filter(
  ({ method, path, operationId }) =>
    method === 'post' && path.startsWith('/v1/') && operationId !== 'checkPassword',
)

for (const operation of posts) {
  describe(operation.operationId, () => {
    const newTarget = async (): Promise<Target> => {
      const name = newName()
      const target = { domain: `${name}.example`, mailbox: `${name}@${domain}`, account: name }
      await arrange[operation.operationId]?.(target)
      return target
    }
    const send = (target: Target, key: string) =>
      post(bodyFor(operation as DeclaredOperation, target), { path: pathFor(operation, target), key })

    test('repeats the first answer and does nothing again', async () => {
      const [target, key] = [await newTarget(), randomUUID()]
      const first = await send(target, key)
      assert.ok(first.status < 300, outcome(first))
      const rows = await everyRow()
      assertReplayed(await send(target, key), first)
      assertReplayed(await send(target, key), first)
      assert.deepEqual(await everyRow(), rows)
    })

    test('refuses another request under the key', async () => {
      const [target, key] = [await newTarget(), randomUUID()]
      await send(target, key)
      const other = await newTarget()
      const rows = await everyRow()
      assert.equal(outcome(await send(other, key)), '422 idempotency-key-reused')
      assert.deepEqual(await everyRow(), rows)
    })

    test('refuses the second of two that are under way, which may be sent again', async () => {
      const [target, key] = [await newTarget(), randomUUID()]
      const entry = { issuer: service.keys.installation, subject: 'test', key }
      const holder = await admin.connect()
      try {
        await holder.query('begin')
        await holder.query('select pg_advisory_xact_lock($1::bigint)', [lockNumber(entry)])
        assert.equal(outcome(await send(target, key)), '409 idempotency-key-in-use')
      } finally {
        await holder.query('rollback')
        holder.release()
      }
      const later = await send(target, key)
      assert.deepEqual([later.status < 300, later.headers.get('idempotency-replayed')], [true, null])
    })
  })
}

/** All that the schema holds. */
async function everyRow(): Promise<string[]> {
  const tables = [
    'domains',
    'accounts',
    'addresses',
    'mailboxes',
    'verifiers',
    'idempotency_keys',
    'settings',
    'tokens',
  ]
  const contents = await Promise.all(
    tables.map((name) => admin.query(`select t::text as text from app.${name} as t order by 1`)),
  )
  return contents.flatMap(({ rows }) => rows.map(({ text }) => text))
}

test('the order of the members and the spaces between them do not count, everything else does', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const body = {
    address,
    password: 'correct horse battery',
    account: { display_name: 'A', external_id: '1' },
  }
  const first = await assertFirst(post(body, { key }))
  const { address: _, ...others } = body
  const account = { external_id: '1', display_name: 'A' }
  assertReplayed(await post({ ...others, account, address }, { key }), first)
  const spaced = { headers: { 'idempotency-key': key }, raw: JSON.stringify(body, null, 2) }
  assertReplayed(await client.post('/v1/mailboxes', undefined, spaced), first)
  for (const other of [
    { ...body, password: 'another horse battery' },
    { ...body, address: address.toUpperCase() },
    { ...body, quota_bytes: null },
    { ...body, account: { display_name: 'A' } },
    { ...body, account: { display_name: 'A', external_id: null } },
  ]) {
    assert.equal(outcome(await post(other, { key })), '422 idempotency-key-reused', JSON.stringify(other))
  }
})

test('another path under the key is another request', async () => {
  const [key, name] = [randomUUID(), newName()]
  await assertFirst(post({ name: `${name}.example` }, { path: '/v1/domains', key }))
  const account = await post({ name, generate_password: true }, { path: '/v1/accounts', key })
  assert.equal(outcome(account), '422 idempotency-key-reused')
})

test('a key belongs to a subject', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const body = { address, generate_password: true }
  await assertFirst(post(body, { key }))
  const other = await service.as({ subject: 'somebody else' })
  assert.equal(outcome(await post(body, { key, as: other })), '409 mailbox-exists')
  await assertFirst(post({ ...body, address: newAddress() }, { key, as: other }))
})

test('a subject of the same name at another issuer is another', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const body = { address, generate_password: true }
  await assertFirst(post(body, { key }))
  await admin.query(`update app.idempotency_keys set issuer = 'https://elsewhere.example' where key = $1`, [
    key,
  ])
  assert.equal(outcome(await post(body, { key })), '409 mailbox-exists')
})

test('another token of the subject gets the answer too, where it allows the request', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const body = { address, generate_password: true }
  const first = await assertFirst(post(body, { key }))
  assertReplayed(await post(body, { key, as: await service.as({ domains: [domain] }) }), first)
})

describe('what a token of the same subject does not allow is refused before anything is repeated', () => {
  const without = (...missing: string[]) => ({ scopes: scopes.filter((scope) => !missing.includes(scope)) })
  const cases: [string, string, () => object, object, string][] = [
    [
      'the scope of the operation',
      '/v1/mailboxes',
      () => ({ address: newAddress(), generate_password: true }),
      without('mailboxes:write'),
      '403 insufficient-scope',
    ],
    [
      'the domain',
      '/v1/mailboxes',
      () => ({ address: newAddress(), generate_password: true }),
      { domains: ['other.example'] },
      '422 unknown-domain',
    ],
    [
      'a role name',
      '/v1/mailboxes',
      () => ({ address: `sales@${domain}`, allow_role_name: true, generate_password: true }),
      without('names:reserved'),
      '403 insufficient-scope',
    ],
    [
      'a mail server',
      '/v1/domains',
      () => ({ name: `${newName()}.example`, mail_server: 'mail.example.jp' }),
      without('mailflow:write'),
      '403 insufficient-scope',
    ],
    [
      'creating domains',
      '/v1/domains',
      () => ({ name: `${newName()}.example` }),
      { domains: [domain] },
      '403 insufficient-scope',
    ],
    [
      'an account without a mailbox',
      '/v1/accounts',
      () => ({ name: newName(), generate_password: true }),
      { domains: [domain] },
      '403 insufficient-scope',
    ],
  ]
  for (const [what, path, makeBody, caller, expected] of cases) {
    test(what, async () => {
      const [key, body] = [randomUUID(), makeBody()]
      await assertFirst(post(body, { path, key }))
      assert.equal(outcome(await post(body, { path, key, as: await service.as(caller) })), expected)
    })
  }

  test('linking an account, said or by the setting', async () => {
    const weaker = await service.as(without('accounts:write'))
    for (const createAccountDefault of [true, false]) {
      await client.patch('/v1/server', { create_account_default: createAccountDefault })
      const [key, name] = [randomUUID(), newName()]
      await client.post('/v1/accounts', { name, generate_password: true })
      const body = { address: `${name}@${domain}`, ...(createAccountDefault && { create_account: false }) }
      const first = await assertFirst(post(body, { key }))
      assert.equal(outcome(await post(body, { key, as: weaker })), '403 insufficient-scope')
      assertReplayed(await post(body, { key }), first)
    }
    await client.patch('/v1/server', { create_account_default: true })
  })
})

test('what was kept is repeated whatever became of it and of the settings', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const body = { address, generate_password: true }
  const first = await assertFirst(post(body, { key }))
  await client.patch(`/v1/mailboxes/${address}`, { locked: true })
  await client.patch('/v1/server', { create_account_default: false })
  assertReplayed(await post(body, { key }), first)
  await client.patch('/v1/server', { create_account_default: true })
  await client.delete(`/v1/mailboxes/${address}?purge=true&account=delete`)
  assertReplayed(await post(body, { key }), first)
  assert.equal(await countMailboxes(address), 0)
})

test('a refused request keeps nothing and may be sent again under its key', async () => {
  const [key, name] = [randomUUID(), newName()]
  const body = { address: `${name}@later${name}.example`, generate_password: true }
  assert.equal(outcome(await post(body, { key })), '422 unknown-domain')
  assert.equal(
    outcome(await post({ ...body, authentication: 'active_directory' }, { key })),
    '422 unknown-domain',
  )
  await client.post('/v1/domains', { name: `later${name}.example`, mailbox_limit: 0 })
  assert.equal(outcome(await post(body, { key })), '409 mailbox-limit-reached')
  await client.patch(`/v1/domains/later${name}.example`, { mailbox_limit: 1 })
  const first = await assertFirst(post(body, { key }))
  assertReplayed(await post(body, { key }), first)
})

test('a request that the database refuses keeps nothing either', async () => {
  const [key, body] = [randomUUID(), { address: newAddress(), generate_password: true }]
  await admin.query(
    `alter table app.idempotency_keys add constraint idempotency_keys_refused_check check (false) not valid`,
  )
  try {
    assert.equal(outcome(await post(body, { key })), '500 internal-error')
    assert.equal(await countMailboxes(body.address), 0, 'no effect without its key')
  } finally {
    await admin.query('alter table app.idempotency_keys drop constraint idempotency_keys_refused_check')
  }
  await assertFirst(post(body, { key }))
  await assertInvariants(admin)
})

describe('24 hours', () => {
  const age = (key: string, interval: string) =>
    admin.query('update app.idempotency_keys set created_at = now() - $2::interval where key = $1', [
      key,
      interval,
    ])

  test('the answer is repeated until they are over', async () => {
    const [key, body] = [randomUUID(), { address: newAddress(), generate_password: true }]
    const first = await assertFirst(post(body, { key }))
    await age(key, '23:59:30')
    assertReplayed(await post(body, { key }), first)
    await age(key, '24:00:00')
    assert.equal(outcome(await post(body, { key })), '409 mailbox-exists')
  })

  test('then the key is free, for another request too', async () => {
    const [key, body] = [randomUUID(), { address: newAddress(), generate_password: true }]
    await assertFirst(post(body, { key }))
    await age(key, '24:00:01')
    const next = { address: newAddress(), generate_password: true }
    const first = await assertFirst(post(next, { key }))
    assertReplayed(await post(next, { key }), first)
  })
})

test('nothing is kept of what was sent without a key', async () => {
  const count = async () => (await admin.query('select count(*) from app.idempotency_keys')).rows[0].count
  const before = await count()
  assert.equal(
    outcome(await client.post('/v1/mailboxes', { address: newAddress(), generate_password: true })),
    '201',
  )
  assert.equal(await count(), before)
})

test('looks the key up before it hashes', { timeout: 20_000 }, async () => {
  const [key, body] = [randomUUID(), { address: newAddress(), generate_password: true }]
  const first = await assertFirst(post(body, { key }))
  await client.delete(`/v1/mailboxes/${body.address}?purge=true&account=delete`) // now nothing else stands against it
  const release = Promise.withResolvers<void>()
  const { derivations } = service
  const blockers: Promise<void>[] = []
  do blockers.push(derivations.run(() => release.promise))
  while (derivations.waiting === 0)
  const giveUp = setTimeout(release.resolve, 5_000)
  try {
    assertReplayed(await post(body, { key }), first)
    assert.equal(outcome(await post({ ...body, quota_bytes: 1 }, { key })), '422 idempotency-key-reused')
    assert.ok(derivations.waiting > 0, 'neither waited for its turn')
  } finally {
    clearTimeout(giveUp)
    release.resolve()
    await Promise.all(blockers)
  }
})

test('a replayed answer is told in the log', async () => {
  const [key, body] = [randomUUID(), { name: `${newName()}.example` }]
  await post(body, { path: '/v1/domains', key })
  const { headers } = await post(body, { path: '/v1/domains', key })
  const id = headers.get('x-request-id') ?? 'none'
  const own = () => service.log.find((line) => line.includes(id) && line.includes('"msg":"request"'))
  for (const until = Date.now() + 5_000; !own() && Date.now() < until; )
    await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(JSON.parse(own() ?? '{}').replayed, true)
})
