import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { after, afterEach, test } from 'node:test'
import { type Client, createClient, outcome, type Reply } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startReplica, startService } from '../support/service.ts'

const service = await startService()
const { admin } = service
const here = await service.as()
const replica = await startReplica(service)
const there = createClient(replica, here.token)
const domain = 'example.jp'
await here.post('/v1/domains', { name: domain })
await here.patch('/v1/server', { scram_iterations: 4096 }) // the races are the matter, not the hashing

afterEach(() => assertInvariants(admin))

let serial = 0
const newName = () => `same${++serial}`

interface Creation {
  path: string
  body: object
  /** What tells the effects apart: rows of the table whose name is this one. */
  table: 'domains' | 'mailboxes' | 'accounts'
  name: string
}

function newDomain(): Creation {
  const name = `${newName()}.example`
  return { path: '/v1/domains', body: { name }, table: 'domains', name }
}

function newAccount(): Creation {
  const name = newName()
  return { path: '/v1/accounts', body: { name, generate_password: true }, table: 'accounts', name }
}

function newMailbox(): Creation {
  const name = newName()
  const body = { address: `${name}@${domain}`, generate_password: true }
  return { path: '/v1/mailboxes', body, table: 'mailboxes', name }
}

/** On an account that is there: without a hash to wait for, the transactions meet as closely as they can. */
async function newLink(at = domain): Promise<Creation> {
  const name = newName()
  await admin.query(`insert into app.accounts (name, authentication) values ($1, 'local')`, [name])
  const body = { address: `${name}@${at}`, create_account: false }
  return { path: '/v1/mailboxes', body, table: 'mailboxes', name }
}

const all = [newDomain, newLink, newAccount, newMailbox]
const withoutHash = [newDomain, newLink]

function send(client: Client, { path, body }: Creation, key: string): Promise<Reply> {
  return client.post(path, body, { headers: { 'idempotency-key': key } })
}

/** Sends the same `count` times at once, half of them to each instance. */
function race(count: number, creation: Creation, key = randomUUID()): Promise<Reply[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => send(i % 2 === 0 ? here : there, creation, key)))
}

const isReplayed = ({ headers }: Reply) => headers.get('idempotency-replayed') === 'true'

/** One made it; the others got its answer, or were told to wait. Returns who got what. */
async function assertOneEffect(replies: Reply[], { table, name }: Creation) {
  const made = replies.filter((reply) => reply.status === 201 && !isReplayed(reply))
  const replayed = replies.filter((reply) => reply.status === 201 && isReplayed(reply))
  const refused = replies.filter(({ status }) => status !== 201)
  assert.equal(made.length, 1)
  assert.deepEqual(new Set(refused.map(outcome)), new Set(refused.map(() => '409 idempotency-key-in-use')))
  for (const { body, etag } of replayed) {
    const { generated_password: secret, ...first } = made[0]!.body
    assert.deepEqual(body, { ...first, ...(secret && { secret_omitted: true }) })
    assert.equal(etag, made[0]!.etag)
  }
  const { rows } = await admin.query(`select from app.${table} where name = $1`, [name])
  assert.equal(rows.length, 1)
  return { replayed: replayed.length, refused: refused.length }
}

test('of two at once, through two instances, one works and the other gets 409 or the replay', async () => {
  const seen = { replayed: 0, refused: 0 }
  for (let round = 0; round < 100; round++) {
    const makers = round < 40 ? all : withoutHash
    const creation = await makers[round % makers.length]!()
    const { replayed, refused } = await assertOneEffect(await race(2, creation), creation)
    seen.replayed += replayed
    seen.refused += refused
  }
  assert.equal(seen.replayed + seen.refused, 100)
})

test('of many at once one works', async () => {
  for (let round = 0; round < 20; round++) {
    const creation = await withoutHash[round % 2]!()
    const key = randomUUID()
    await assertOneEffect(await race(12, creation, key), creation)
    const later = await race(2, creation, key)
    assert.ok(later.every(isReplayed), 'and later all get its answer')
  }
})

test('the same in a domain with a limit, where creates wait for each other', async () => {
  const at = 'limited.example'
  await here.post('/v1/domains', { name: at, mailbox_limit: 20 })
  for (let round = 0; round < 20; round++) {
    const creation = await newLink(at)
    await assertOneEffect(await race(6, creation), creation)
  }
})

test('of different requests under one key at once one works', async () => {
  for (let round = 0; round < 20; round++) {
    const key = randomUUID()
    const made = await Promise.all(Array.from({ length: 4 }, () => newLink()))
    const replies = await Promise.all(made.map((one, i) => send(i % 2 === 0 ? here : there, one, key)))
    const outcomes = replies.map(outcome)
    assert.equal(outcomes.filter((one) => one === '201').length, 1, outcomes.join())
    const refusals = ['201', '409 idempotency-key-in-use', '422 idempotency-key-reused']
    assert.ok(
      outcomes.every((one) => refusals.includes(one)),
      outcomes.join(),
    )
    const { rows } = await admin.query('select from app.mailboxes where name = any($1)', [
      made.map(({ name }) => name),
    ])
    assert.equal(rows.length, 1)
  }
})

/** Holds the request here after it has looked its key up, at the turn to hash, until `meanwhile` is done. */
async function overtake(creation: Creation, key: string, meanwhile: () => Promise<void>): Promise<Reply> {
  const release = Promise.withResolvers<void>()
  const { derivations } = service
  const blockers: Promise<void>[] = []
  do blockers.push(derivations.run(() => release.promise))
  while (derivations.waiting === 0)
  const { waiting } = derivations
  const overtaken = send(here, creation, key)
  while (derivations.waiting === waiting) await new Promise((resolve) => setTimeout(resolve, 5))
  await meanwhile()
  release.resolve()
  await Promise.all(blockers)
  return overtaken
}

test('one that is refused by what the first has just made gets its answer', async () => {
  const [creation, key] = [newMailbox(), randomUUID()]
  const late = await overtake(creation, key, async () => {
    const first = await send(there, creation, key)
    assert.deepEqual([outcome(first), isReplayed(first)], ['201', false])
  })
  assert.deepEqual([outcome(late), isReplayed(late)], ['201', true])
})

test('one that was overtaken does nothing again, even where what the first made is gone', async () => {
  const [creation, key] = [newAccount(), randomUUID()]
  const late = await overtake(creation, key, async () => {
    const first = await send(there, creation, key)
    assert.deepEqual([outcome(first), isReplayed(first)], ['201', false])
    assert.equal(outcome(await there.delete(`/v1/accounts/${creation.name}`)), '204')
  })
  assert.deepEqual([outcome(late), isReplayed(late)], ['201', true])
  assert.equal(outcome(await here.get(`/v1/accounts/${creation.name}`)), '404 account-not-found')
})

/** Stands between a client and the service, and breaks the connection as soon as the answer comes. */
async function startDropping(target: string): Promise<string> {
  const { port, hostname } = new URL(target)
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    client.on('error', () => {}).on('data', (part) => upstream.write(part))
    client.on('close', () => upstream.destroy())
    upstream.on('error', () => {}).once('data', () => client.resetAndDestroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address)
  return `http://127.0.0.1:${address.port}`
}

test('an answer that got lost is given when the request is sent again, to any instance', async () => {
  const dropping = createClient(await startDropping(service.url), here.token)
  for (let round = 0; round < 8; round++) {
    const creation = await all[round % all.length]!()
    const key = randomUUID()
    await assert.rejects(send(dropping, creation, key), /fetch failed/)
    const again = await send(there, creation, key)
    assert.deepEqual([outcome(again), isReplayed(again)], ['201', true])
    assert.equal(again.body.secret_omitted, 'generate_password' in creation.body ? true : undefined)
    assert.equal((await here.get(again.headers.get('location') ?? '')).etag, again.etag)
  }
})

test('a client that leaves without waiting finds out what became of its request', async () => {
  for (let round = 0; round < 9; round++) {
    const creation = newMailbox()
    const key = randomUUID()
    const leaving = new AbortController()
    const sent = fetch(new URL(creation.path, service.url), {
      method: 'POST',
      signal: leaving.signal,
      headers: {
        authorization: `Bearer ${here.token}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: JSON.stringify(creation.body),
    })
    setTimeout(() => leaving.abort(), 5 * round)
    await sent.catch(() => {})
    let again = await send(there, creation, key)
    for (const until = Date.now() + 10_000; outcome(again) === '409 idempotency-key-in-use'; ) {
      assert.ok(Date.now() < until)
      again = await send(there, creation, key)
    }
    assert.equal(outcome(again), '201')
    const { rows } = await admin.query('select from app.mailboxes where name = $1', [creation.name])
    assert.equal(rows.length, 1)
  }
})

test('a connection to Postgres that breaks in the transaction leaves no key, and the repetition works', async () => {
  const creation = newMailbox()
  const key = randomUUID()
  const blocker = await admin.connect()
  try {
    await blocker.query('begin')
    await blocker.query('select from app.domains where name = $1 for update', [domain])
    const refused = send(here, creation, key)
    await endWaitingBackend()
    assert.equal(outcome(await refused), '503 unavailable')
  } finally {
    await blocker.query('rollback')
    blocker.release()
  }
  const { rows } = await admin.query('select from app.idempotency_keys where key = $1', [key])
  assert.equal(rows.length, 0)
  const again = await send(there, creation, key)
  assert.deepEqual([outcome(again), isReplayed(again)], ['201', false])
})

async function endWaitingBackend(): Promise<void> {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    const { rowCount } = await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock' and application_name = 'mailwright'`,
    )
    if (rowCount) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  assert.fail('nobody waits')
}
