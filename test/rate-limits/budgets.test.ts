import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { createClient, outcome, type Reply } from '../support/client.ts'
import { bodyFor, guardedOperations, pathFor } from '../support/operations.ts'
import { startReplica, startService } from '../support/service.ts'

const service = await startService({ limits: { reads: 3, writes: 2, passwords: 1 } })
const target = { domain: 'example.jp', mailbox: 'user05@example.jp', account: 'user05' }
const password = 'correct horse battery'
let subjects = 0

/** A caller whose budgets are full. */
function anybody(domains: '*' | string[] = '*') {
  subjects += 1
  return service.as({ subject: `caller-${subjects}`, domains })
}

before(async () => {
  await (await anybody()).post('/v1/domains', { name: target.domain })
  await (await anybody()).post('/v1/mailboxes', { address: target.mailbox, password })
})

function limitsOf({ headers }: Reply) {
  return [headers.get('ratelimit-policy'), headers.get('ratelimit')?.replace(/t=\d+/g, 't=*')]
}

describe('every operation', () => {
  for (const operation of guardedOperations) {
    test(`${operation.operationId} answers 429 once the budget is used up, and does nothing`, async () => {
      const caller = await anybody()
      const isRead = operation.method === 'get'
      for (let i = 0; i < (isRead ? 3 : 2); i++) {
        if (isRead) await caller.get('/v1/domains')
        else await caller.patch('/v1/domains/nothing.jp', {})
      }
      const reply = await send()
      assert.equal(outcome(reply), '429 too-many-requests')
      const wait = Number(reply.headers.get('retry-after'))
      assert.ok(wait >= 1 && wait <= 60)
      assert.deepEqual(
        limitsOf(reply),
        isRead ? ['"reads";q=3;w=60', '"reads";r=0;t=*'] : ['"writes";q=2;w=60', '"writes";r=0;t=*'],
      )
      const { rows } = await service.admin.query(
        `select state, locked from app.mailboxes where name = 'user05'`,
      )
      assert.deepEqual(rows, [{ state: 'active', locked: false }])

      function send(): Promise<Reply> {
        const path = pathFor(operation, target)
        const { method } = operation
        if (method === 'get' || method === 'delete') return caller[method](path)
        return caller[method](path, bodyFor(operation, target))
      }
    })
  }
})

test('reads and writes have budgets of their own, and every answer says what is left', async () => {
  const caller = await anybody()
  const lefts = []
  for (let i = 0; i < 3; i++) lefts.push(limitsOf(await caller.get('/v1/domains'))[1])
  assert.deepEqual(lefts, ['"reads";r=2;t=*', '"reads";r=1;t=*', '"reads";r=0;t=*'])
  assert.equal(outcome(await caller.get('/v1/domains')), '429 too-many-requests')
  assert.equal(outcome(await caller.patch('/v1/domains/nothing.jp', {})), '404 domain-not-found')
})

test('another token of the same subject has no budget of its own, another subject has', async () => {
  const first = await service.as({ subject: 'hr-system' })
  const second = await service.as({ subject: 'hr-system' })
  assert.notEqual(first.token, second.token)
  for (let i = 0; i < 3; i++) assert.equal((await first.get('/v1/domains')).status, 200)
  assert.equal(outcome(await second.get('/v1/domains')), '429 too-many-requests')
  assert.equal(outcome(await (await anybody()).get('/v1/domains')), '200')
})

test('of requests at once exactly as many pass as the budget has', async () => {
  const caller = await anybody()
  const replies = await Promise.all(Array.from({ length: 50 }, () => caller.get('/v1/domains')))
  assert.equal(replies.filter(({ status }) => status === 200).length, 3)
  assert.equal(replies.filter(({ status }) => status === 429).length, 47)
})

describe('the budget of passwords', () => {
  test('is charged for what is hashed alone', async () => {
    const caller = await anybody()
    const made = await caller.post('/v1/mailboxes', { address: 'hashed@example.jp', password })
    assert.equal(made.status, 201)
    assert.deepEqual(limitsOf(made), [
      '"writes";q=2;w=60, "passwords";q=1;w=60',
      '"writes";r=1;t=*, "passwords";r=0;t=*',
    ])
    const refused = await caller.put('/v1/accounts/hashed/password', { password })
    assert.equal(outcome(refused), '429 too-many-requests')
    assert.deepEqual(limitsOf(refused), [
      '"writes";q=2;w=60, "passwords";q=1;w=60',
      '"writes";r=0;t=*, "passwords";r=0;t=*',
    ])
    assert.match(String(refused.body.detail), /1 passwords a minute/)
  })

  test('is not charged for a collision, nor for a PUT that only repeats', async () => {
    const caller = await anybody()
    const collision = await caller.post('/v1/mailboxes', { address: target.mailbox, password })
    const repeated = await caller.put(`/v1/mailboxes/${target.mailbox}`, { password })
    assert.deepEqual([outcome(collision), outcome(repeated)], ['409 mailbox-exists', '200'])
    for (const reply of [collision, repeated])
      assert.doesNotMatch(reply.headers.get('ratelimit') ?? '', /passwords/)
  })

  test('refuses without writing', async () => {
    const caller = await anybody()
    await caller.post('/v1/accounts', { name: 'first', password })
    assert.equal(
      outcome(await caller.post('/v1/accounts', { name: 'second', password })),
      '429 too-many-requests',
    )
    const { rows } = await service.admin.query(
      `select name from app.accounts where name in ('first', 'second')`,
    )
    assert.deepEqual(rows, [{ name: 'first' }])
  })
})

test('refused callers cost no budget, and neither do probes', async () => {
  const powerless = await service.as({ subject: 'powerless', scopes: [] })
  for (let i = 0; i < 5; i++)
    assert.equal(outcome(await powerless.get('/v1/domains')), '403 insufficient-scope')
  const nobody = createClient(service.url, '')
  for (let i = 0; i < 5; i++) assert.equal(outcome(await nobody.get('/v1/domains')), '401 unauthenticated')
  for (let i = 0; i < 5; i++) assert.equal((await nobody.get('/livez')).status, 200)
})

test('without settings there is no limit and no header', async () => {
  const { token } = await service.as({ subject: 'eager' })
  const caller = createClient(await startReplica(service), token)
  const replies = await Promise.all(Array.from({ length: 100 }, () => caller.get('/v1/domains')))
  for (const reply of replies) {
    assert.equal(reply.status, 200)
    assert.equal(reply.headers.has('ratelimit'), false)
  }
})

test('a refusal leaves a security event that names the budget', async () => {
  const caller = await service.as({ subject: 'event-writer' })
  for (let i = 0; i < 3; i++) await caller.delete('/v1/domains/nothing.jp')
  const events = service.log
    .map((line) => JSON.parse(line))
    .filter(({ subject, event }) => subject === 'event-writer' && event)
  assert.deepEqual(
    events.map(({ event, budget, address, token_id }) => ({
      event,
      budget,
      address,
      hasToken: typeof token_id,
    })),
    [{ event: 'rate-limited', budget: 'writes', address: '127.0.0.1', hasToken: 'string' }],
  )
})
