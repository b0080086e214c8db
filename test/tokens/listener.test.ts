import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listenForChanges } from '../../src/tokens/listener.ts'
import { until } from '../support/races.ts'
import { startService } from '../support/service.ts'

const { admin } = await startService()
const url = String(admin.options.connectionString)
const listeners = `from pg_stat_activity where application_name = 'mailwright tokens' and datname = current_database()`
const nobody = () => {}

test('is current as soon as it has started, and hears changes', async () => {
  let changes = 0
  const listener = listenForChanges(url, () => void changes++, nobody)
  await listener.started
  assert.equal(await listener.isCurrent(), true)
  const before = changes
  await admin.query(`notify mailwright_tokens`)
  await until(() => changes === before + 1)
  await listener.close()
  assert.equal(await listener.isCurrent(), false)
})

test('can be closed at any moment', { timeout: 60_000 }, async () => {
  await listenForChanges(url, nobody, nobody).close() // before it is connected
  const listener = listenForChanges(url, nobody, nobody)
  await listener.started
  await admin.query(`select pg_terminate_backend(pid) ${listeners}`)
  await listener.close() // while it is lost
  await until(async () => (await admin.query(`select pid ${listeners}`)).rows.length === 1) // the service's own
})

test('starts without a Postgres too, says why it hears nothing, and is never current then', async () => {
  const reasons: string[] = []
  // nothing listens on port 1 (RFC 6335: tcpmux)
  const listener = listenForChanges(
    'postgres://127.0.0.1:1/nothing',
    nobody,
    (reason) => void reasons.push(reason),
  )
  await listener.started
  assert.equal(await listener.isCurrent(), false)
  await until(() => reasons.length > 0)
  await listener.close()
})
