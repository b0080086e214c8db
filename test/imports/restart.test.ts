import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { scopes } from '../../src/scopes.ts'
import { createClient } from '../support/client.ts'
import { csv, postImport, rowsOf, untilDone } from '../support/imports.ts'
import { startProcess, stopProcess, temporaryFolder } from '../support/process.ts'
import { cloneDatabase } from '../support/service.ts'

const hash = '$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'
const total = 6_000

test('goes on where a killed service was, on another replica, no row twice and none lost', async (t) => {
  const database = await cloneDatabase()
  t.after(() => database.drop())
  const dataDir = await temporaryFolder(t)
  const keyFile = `${dataDir}/token-key.json`
  const keys = await loadOrCreateKeys(keyFile)
  const env = { DATABASE_URL: database.serviceUrl, TOKEN_KEY_FILE: keyFile }
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2 })
  admin.on('error', () => {})
  t.after(() => admin.end())
  const first = await startProcess(t, { env })
  const second = await startProcess(t, { env })
  const token = await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 3600 })
  const api = createClient(second.url, token)
  await api.post('/v1/domains', { name: 'example.jp' })
  const rows = Array.from({ length: total }, (_, i) => [`user${i}@example.jp`, hash])
  const { body } = await postImport(api, csv(['address', 'password_hash'], rows))
  await untilSome(admin, body.id)
  await stopProcess(first.child, 'SIGKILL') // one of the two had it in hand
  await stopProcess(second.child, 'SIGKILL')
  const { rows: left } = await admin.query('select state, done_line from app.imports')
  assert.equal(left[0].state, 'running')
  assert.ok(left[0].done_line < total + 1)
  const third = await startProcess(t, { env })
  const again = createClient(third.url, token)
  const ended = await untilDone(again, body.id)
  assert.deepEqual([ended.state, ended.rows_done, ended.counts.created], ['completed', total, total])
  const outcomes = await rowsOf(again, body.id)
  assert.equal(outcomes.filter(({ status }) => status === 'created').length, total)
  const { rows: made } = await admin.query(`
    select (select count(*)::integer from app.mailboxes) as mailboxes,
      (select count(*)::integer from app.audit_events where action = 'mailbox.create') as events,
      (select count(*)::integer from app.import_rows where sealed is not null or content is not null) as unforgotten`)
  assert.deepEqual(made[0], { mailboxes: total, events: total, unforgotten: 0 })
  assert.equal((await again.get('/v1/domains/example.jp')).body.mailbox_count, total)
})

async function untilSome(admin: pg.Pool, id: string): Promise<void> {
  const until = Date.now() + 60_000
  const done = async () =>
    (await admin.query('select done_line from app.imports where id = $1', [id])).rows[0].done_line
  while ((await done()) === 0) {
    if (Date.now() > until) throw new Error('nothing is done')
    await sleep(10)
  }
}
