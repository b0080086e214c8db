import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, outcome } from '../support/client.ts'
import { assertOutcomes, until } from '../support/races.ts'
import { startReplica, startService } from '../support/service.ts'
import { type MadeToken, makeToken, untilNextSecond } from '../support/tokens.ts'

// What ends a token, seen at two replicas.

const service = await startService()
const admin = await service.as()
const there = await startReplica(service)
const path = '/v1/tokens'
const scopes = ['tokens:write', 'domains:read']

before(() => admin.post('/v1/domains', { name: 'a.jp' }))

const make = (wish: object = {}) => makeToken(service.url, admin, { scopes, ...wish })
const child = (parent: MadeToken, wish: object = {}) =>
  makeToken(service.url, parent.client, { scopes, ...wish })
const atBoth = ({ client }: MadeToken) => [client, createClient(there, client.token)]
const use = async (token: MadeToken) =>
  Promise.all(atBoth(token).map(async (client) => outcome(await client.get('/v1/domains'))))

const good = ['200', '200']
const bad = ['401 unauthenticated', '401 unauthenticated']

/** Fails where a replica still takes it a second after `end` was answered. */
async function assertEndsWithinASecond(tokens: MadeToken[], end: () => Promise<unknown>): Promise<void> {
  for (const token of tokens) assert.deepEqual(await use(token), good)
  await end()
  const ended = performance.now()
  while (performance.now() - ended < 900) {
    const uses = await Promise.all(tokens.map(use))
    if (uses.flat().every((one) => one === bad[0])) return
    await sleep(10)
  }
  for (const token of tokens) assert.deepEqual(await use(token), bad)
}

test('a remembered token needs no look-up', async () => {
  const token = await make()
  assert.deepEqual(await use(token), good)
  const blocker = await service.admin.connect()
  try {
    await blocker.query('begin')
    await blocker.query('lock table app.tokens, app.settings')
    assert.deepEqual(await use(token), good)
  } finally {
    await blocker.query('rollback')
    blocker.release()
  }
})

test('revocation holds at every replica within a second', async () => {
  const token = await make()
  await assertEndsWithinASecond([token], () => admin.delete(`${path}/${token.id}`))
  const { body, headers } = await token.client.get('/v1/domains')
  assert.match(body.detail, /revoked/)
  assert.equal(headers.get('www-authenticate'), 'Bearer realm="mailwright", error="invalid_token"')
  const line = service.log
    .map((text) => JSON.parse(text))
    .findLast(({ event }) => event === 'unauthenticated')
  assert.equal(line.token_id, token.id)
})

test('whoever revoked it sees that at once', async () => {
  for (let i = 0; i < 20; i++) {
    const { id, client } = await make()
    assert.equal(outcome(await client.get('/v1/domains')), '200')
    await admin.delete(`${path}/${id}`)
    assert.equal(outcome(await client.get('/v1/domains')), '401 unauthenticated')
  }
})

test('an administrator may revoke in SQL too', async () => {
  const [one, other] = [await make(), await make()]
  const { admin: sql } = service
  await assertEndsWithinASecond([one], () =>
    sql.query('update app.tokens set revoked_at = now() where id = $1', [one.id]),
  )
  await assertEndsWithinASecond([other], () => sql.query('delete from app.tokens where id = $1', [other.id]))
})

describe('while changes cannot be heard', () => {
  const listeners = `from pg_stat_activity where application_name = 'mailwright tokens' and datname = current_database()`
  const count = async () => (await service.admin.query(`select pid ${listeners}`)).rows.length

  test('each request asks, so that revocation holds at once', async () => {
    await until(async () => (await count()) === 2)
    const token = await make()
    assert.deepEqual(await use(token), good)
    let killing = true
    const killer = (async () => {
      while (killing) {
        await service.admin.query(`select pg_terminate_backend(pid) ${listeners}`)
        await sleep(5)
      }
    })()
    try {
      await sleep(20)
      assert.deepEqual(await use(token), good, 'a good token goes on')
      await admin.delete(`${path}/${token.id}`)
      assert.deepEqual(await use(token), bad)
    } finally {
      killing = false
      await killer
    }
    await until(async () => (await count()) === 2)
    const next = await make()
    await assertEndsWithinASecond([next], () => admin.delete(`${path}/${next.id}`))
  })

  test('what was revoked meanwhile is not taken for good afterwards', async () => {
    const token = await make()
    assert.deepEqual(await use(token), good)
    await service.admin.query('alter table app.tokens disable trigger tokens_tell')
    await service.admin.query(`select pg_terminate_backend(pid) ${listeners}`)
    await admin.delete(`${path}/${token.id}`)
    await service.admin.query('alter table app.tokens enable trigger tokens_tell')
    await until(async () => (await count()) === 2)
    assert.deepEqual(await use(token), bad)
  })

  const isOurs = !process.env.TEST_DATABASE_URL && process.platform === 'linux'
  test('a connection that went silent is not trusted', { skip: !isOurs }, async () => {
    await until(async () => (await count()) === 2)
    const token = await make()
    assert.deepEqual(await use(token), good)
    const { rows } = await service.admin.query<{ pid: number }>(`select pid ${listeners}`)
    const signal = (name: NodeJS.Signals) => rows.forEach(({ pid }) => void process.kill(pid, name))
    signal('SIGSTOP')
    try {
      await admin.delete(`${path}/${token.id}`)
      await sleep(600) // from now on a revocation has to hold
      assert.deepEqual(await use(token), bad)
    } finally {
      signal('SIGCONT')
    }
  })
})

describe('a token that was made with another', () => {
  test('ends with it, through all generations, and its siblings do not', async () => {
    const root = await make()
    const first = await child(root)
    const sibling = await child(root)
    const second = await child(first)
    const third = await child(second)
    assert.deepEqual((await admin.get(`${path}/${second.id}`)).body.parent, first.id)
    assert.equal((await admin.get(`${path}/${second.id}`)).body.created_by, `token:${first.id}`)
    await assertEndsWithinASecond([first, second, third], () => admin.delete(`${path}/${first.id}`))
    for (const token of [root, sibling]) assert.deepEqual(await use(token), good)
    const { body } = await admin.get(`${path}/${third.id}`)
    const { body: ended } = await admin.get(`${path}/${first.id}`)
    assert.deepEqual([body.state, body.revoked_at], ['revoked', ended.revoked_at])
  })

  test('never outlives it', async () => {
    const expires_at = new Date(Date.now() + 3600_000).toISOString()
    const root = await make({ expires_at })
    const later = new Date(Date.now() + 7200_000).toISOString()
    const sooner = new Date(Date.now() + 1800_000).toISOString()
    assert.equal((await child(root)).expiresAt, root.expiresAt)
    assert.equal((await child(root, { expires_at: later })).expiresAt, root.expiresAt)
    assert.equal((await child(root, { expires_at: sooner })).expiresAt, `${sooner.slice(0, 19)}.000Z`)
  })

  test('is the tenth of its line at most', async () => {
    let last = await make()
    for (let i = 1; i < 10; i++) last = await child(last)
    const refused = await last.client.post(path, { label: 'One more', scopes })
    assert.equal(outcome(refused), '403 insufficient-scope')
  })

  test('does not slip through when it is made while the other is revoked', async () => {
    for (let round = 0; round < 5; round++) {
      const root = await make()
      const middle = await child(root)
      const clients = [...atBoth(root), ...atBoth(middle)]
      const creations = Array.from({ length: 12 }, (_, i) =>
        clients[i % clients.length]!.post(path, { label: 'A race', scopes }),
      )
      const replies = Promise.all(creations)
      await Promise.race(creations)
      await admin.delete(`${path}/${root.id}`)
      const counts = assertOutcomes(await replies, '201', '401 unauthenticated')
      assert.ok(counts['201']! > 0)
      await sleep(500)
      for (const { status, body } of await replies) {
        if (status !== 201) continue
        const token = { id: body.id, client: createClient(service.url, body.token), expiresAt: '' }
        assert.deepEqual(await use(token), bad)
        assert.equal((await admin.get(`${path}/${body.id}`)).body.state, 'revoked')
      }
    }
  })
})

test('a token ends when it expires', async () => {
  const token = await make({ expires_at: new Date(Date.now() + 2000).toISOString() })
  assert.deepEqual(await use(token), good)
  // the clocks of replicas may differ by five seconds
  await until(async () => (await use(token)).every((one) => one === bad[0]))
  assert.match((await token.client.get('/v1/domains')).body.detail, /expired/)
  assert.equal((await admin.get(`${path}/${token.id}`)).body.state, 'expired')
})

test('a token whose row was never there, or whose lifetime is too long for one without, is refused', async () => {
  const createdAt = new Date()
  const forged = await service.keys.signStored({
    id: '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e',
    createdAt,
    expiresAt: new Date(createdAt.getTime() + 60_000),
  })
  const grant = { subject: 'x', scopes: ['domains:read' as const], domains: '*' as const }
  const long = await service.keys.sign({ ...grant, expiresInSeconds: 24 * 3600 + 1 })
  const day = await service.keys.sign({ ...grant, expiresInSeconds: 24 * 3600 })
  for (const [token, expected] of [
    [forged, bad[0]],
    [long, bad[0]],
    [day, '200'],
  ] as const)
    assert.equal(outcome(await createClient(service.url, token).get('/v1/domains')), expected)
})

// Last: it ends the token of this file too.
test('tokens_not_before ends all that is older, at every replica within a second, and null brings it back', async () => {
  const old = await make()
  await untilNextSecond() // so that the second of its making is over
  const now = new Date().toISOString()
  await assertEndsWithinASecond([old], async () => {
    const set = await admin.patch('/v1/server', { tokens_not_before: now })
    assert.deepEqual([outcome(set), set.body.tokens_not_before], ['200', now])
  })
  for (const client of [admin, createClient(there, admin.token)]) {
    const refused = await client.get('/v1/domains')
    assert.equal(outcome(refused), '401 unauthenticated')
    assert.match(refused.body.detail, /tokens_not_before/)
  }
  await untilNextSecond()
  const fresh = await service.as()
  assert.equal((await fresh.get(`${path}/${old.id}`)).body.state, 'revoked')
  const anew = await makeToken(service.url, fresh)
  assert.deepEqual(await use(anew), good)
  assert.equal((await fresh.get('/v1/server')).body.tokens_not_before, now)

  const { etag } = await fresh.get('/v1/server')
  assert.equal((await fresh.patch('/v1/server', { tokens_not_before: now })).etag, etag)
  const future = await fresh.patch('/v1/server', {
    tokens_not_before: new Date(Date.now() + 60_000).toISOString(),
  })
  assert.equal(outcome(future), '400 invalid-request')
  assert.equal(future.body.errors[0].pointer, '/tokens_not_before')
  assert.equal(outcome(await fresh.patch('/v1/server', { tokens_not_before: null })), '200')
  await until(async () => (await use(old)).every((one) => one === '200'))
})
