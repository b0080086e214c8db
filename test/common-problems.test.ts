import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp } from '../src/app.ts'
import { openDatabase } from '../src/database.ts'
import { type Client, createClient, outcome, type Reply, type RequestOptions } from './support/client.ts'
import {
  aliasIn,
  bodyFor,
  type DeclaredOperation,
  guardedOperations,
  pathFor,
  type Target,
} from './support/operations.ts'
import { startService } from './support/service.ts'

// What every operation can answer, whatever it does.

const service = await startService()
const admin = await service.as()
const target: Target = { domain: 'example.jp', mailbox: 'user05@example.jp', account: 'user05' }

before(async () => {
  await admin.post('/v1/domains', { name: target.domain })
  await admin.post('/v1/mailboxes', { address: target.mailbox, generate_password: true })
  await admin.post('/v1/aliases', { address: aliasIn(target.domain), targets: [target.mailbox] })
  const { body } = await admin.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'] })
  target.token = body.id
})

function call(client: Client, operation: DeclaredOperation, query = '', options?: RequestOptions) {
  const path = `${pathFor(operation, target)}${query}`
  const { method } = operation
  if (method === 'get' || method === 'delete') return client[method](path, options)
  return client[method](path, options?.raw === undefined ? bodyFor(operation, target) : undefined, options)
}

async function assertEach(expected: string, send: (operation: DeclaredOperation) => Promise<Reply>) {
  for (const operation of guardedOperations) {
    assert.equal(outcome(await send(operation)), expected, operation.operationId)
  }
}

test('refuses a query parameter that the operation does not know', async () => {
  await assertEach('400 invalid-request', (operation) => call(admin, operation, '?no_such_parameter=1'))
  const { body } = await admin.get('/v1/server?no_such_parameter=1')
  assert.deepEqual(body.errors, [{ pointer: 'query/no_such_parameter', detail: 'is not a known member' }])
})

const declaring = (status: string) => guardedOperations.filter(({ responses }) => responses[status])

test('refuses a body that is too large, and one that is no JSON', async () => {
  const large = { raw: JSON.stringify({ name: 'a'.repeat(64 * 1024) }) }
  const text = { raw: 'name=example.jp', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
  for (const operation of declaring('415')) {
    for (const [expected, options] of [
      ['413 content-too-large', { ...large, headers: { 'content-type': 'application/json' } }],
      ['415 unsupported-media-type', text],
    ] as const) {
      assert.equal(outcome(await call(admin, operation, '', options)), expected, operation.operationId)
    }
  }
})

test('refuses a change that is meant for another version', async () => {
  const another = { headers: { 'if-match': '"another"' } }
  for (const operation of declaring('412')) {
    const reply = await call(admin, operation, '', another)
    assert.equal(outcome(reply), '412 precondition-failed', operation.operationId)
  }
})

/** What each operation reads one of. */
const tables = [
  'settings',
  'domains',
  'accounts',
  'addresses',
  'mailboxes',
  'audit_events',
  'tokens',
  'imports',
  'token_states',
]

test('says that it is busy when Postgres gives up a statement', async () => {
  const blocker = await service.admin.connect()
  await blocker.query('begin')
  await blocker.query(`lock table ${tables.map((table) => `app.${table}`)}`)
  const replies = Promise.all(guardedOperations.map((operation) => call(admin, operation)))
  let done = false
  const settled = replies.finally(() => {
    done = true
  })
  while (!done) {
    await service.admin.query(
      `select pg_cancel_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'mailwright' and wait_event_type = 'Lock'`,
    )
    await Promise.race([settled, sleep(20)])
  }
  await blocker.query('rollback')
  blocker.release()
  for (const reply of await replies) {
    assert.equal(outcome(reply), '503 busy')
    assert.match(reply.headers.get('retry-after') ?? '', /^\d+$/)
  }
})

test('says that it is unavailable when there is no Postgres', async () => {
  const db = openDatabase('postgres://127.0.0.1:1/nothing') // nothing listens on port 1 (RFC 6335: tcpmux)
  const app = await buildApp({
    db,
    derivations: service.derivations,
    auth: { keys: service.keys, domainsClaim: 'mailwright_domains' },
  })
  after(async () => {
    await app.close()
    await db.destroy()
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const client = createClient(url, admin.token)
  await assertEach('503 unavailable', (operation) => call(client, operation))
  const { headers, body } = await client.get('/v1/domains')
  assert.match(headers.get('retry-after') ?? '', /^\d+$/)
  assert.doesNotMatch(JSON.stringify(body), /127\.0\.0\.1|ECONNREFUSED/)
})

// Last: it breaks the database of this file.
test('says nothing of a fault of its own but where it is in the log', async () => {
  for (const table of tables) {
    await service.admin.query(`alter table app.${table} rename to gone_${table}`)
  }
  await assertEach('500 internal-error', (operation) => call(admin, operation))
  const { body } = await admin.get('/v1/domains')
  assert.deepEqual(Object.keys(body).sort(), ['instance', 'status', 'title', 'type'])
  const id = String(body.instance).replace('urn:uuid:', '')
  const lines = service.log.map((line) => JSON.parse(line)).filter((line) => line.reqId === id)
  assert.ok(lines.some((line) => line.level === 50 && /does not exist/.test(line.err?.message)))
})
