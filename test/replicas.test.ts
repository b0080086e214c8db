import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { loadOrCreateKeys } from '../src/keys.ts'
import { scopes } from '../src/scopes.ts'
import { createClient, outcome } from './support/client.ts'
import { csv, postImport, rowsOf, untilDone } from './support/imports.ts'
import { startProcess, stopProcess, temporaryFolder } from './support/process.ts'
import { cloneDatabase } from './support/service.ts'

// Two real processes on one Postgres, of which one dies in the middle of its work. That the others see each other's
// writes, races and revocations is shown with two instances in one process: concurrency*.test.ts, mailboxes/rename,
// idempotency/races, tokens/revocation, tokens/fuses, rate-limits/name-taken; that all of them may die, imports/restart.

const hash = '$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'
const total = 1_600
const stuckAt = 1_200

test('one replica works on an import; when it is killed the other goes on, no row twice and none lost', async (t) => {
  const database = await cloneDatabase()
  t.after(() => database.drop())
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2 })
  admin.on('error', () => {})
  t.after(() => admin.end())
  const keyFile = `${await temporaryFolder(t)}/token-key.json`
  const keys = await loadOrCreateKeys(keyFile)
  const start = (name: string) => {
    const url = new URL(database.serviceUrl)
    url.searchParams.set('application_name', name)
    return startProcess(t, { env: { DATABASE_URL: String(url), TOKEN_KEY_FILE: keyFile } })
  }
  const names = ['first', 'second']
  const replicas = await Promise.all(names.map(start))
  const token = await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 3600 })
  const apis = replicas.map(({ url }) => createClient(url, token))
  assert.equal(outcome(await apis[0]!.post('/v1/domains', { name: 'example.jp' })), '201')

  // a transaction that has the name of a row in the middle, so that whoever works on the import waits for it there
  const blocker = new pg.Client(database.adminUrl)
  blocker.on('error', () => {}) // its database is dropped before it has ended
  await blocker.connect()
  t.after(() => blocker.end())
  await blocker.query('begin')
  await blocker.query(
    `insert into app.addresses (name, domain, kind, holds_name) values ('user${stuckAt}', 'example.jp', 'mailbox', true)`,
  )
  const rows = Array.from({ length: total }, (_, i) => [`user${i}@example.jp`, hash])
  const { body } = await postImport(apis[0]!, csv(['address', 'password_hash'], rows))
  const working = await untilStuck(admin)
  assert.equal(working.length, 1, 'one works on it')
  const { rows: half } = await admin.query('select state, done_line from app.imports where id = $1', [
    body.id,
  ])
  assert.equal(half[0].state, 'running')
  assert.ok(half[0].done_line > 0 && half[0].done_line <= stuckAt + 1, `${half[0].done_line} lines are done`)

  const one = names.indexOf(working[0]!)
  await stopProcess(replicas[one]!.child, 'SIGKILL')
  await blocker.query('rollback')
  const api = apis[1 - one]!
  // its lease would end by itself within ten seconds, and the clock would wake the other one within a minute
  await admin.query('update app.imports set leased_until = now() where id = $1', [body.id])
  const { body: small } = await postImport(
    api,
    csv(['address', 'password_hash'], [['last@example.jp', hash]]),
  )
  assert.equal((await untilDone(api, small.id)).counts.created, 1)

  const ended = await untilDone(api, body.id)
  assert.deepEqual([ended.state, ended.rows_done, ended.counts.created], ['completed', total, total])
  const outcomes = await rowsOf(api, body.id)
  assert.equal(new Set(outcomes.map(({ address }) => address)).size, total)
  assert.equal(outcomes.filter(({ status }) => status === 'created').length, total)
  const { rows: made } = await admin.query(`
    select (select count(*)::integer from app.mailboxes) as mailboxes,
      (select count(*)::integer from app.audit_events where action = 'mailbox.create') as events`)
  assert.deepEqual(made[0], { mailboxes: total + 1, events: total + 1 })
})

/** The names of those that wait for the blocker. */
async function untilStuck(admin: pg.Pool): Promise<string[]> {
  for (const until = Date.now() + 60_000; Date.now() < until; await sleep(20)) {
    const { rows } = await admin.query(`
      select application_name as name from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and cardinality(pg_blocking_pids(pid)) > 0`)
    if (rows.length > 0) return rows.map(({ name }) => name)
  }
  throw new Error('nobody comes to the row')
}
