import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sweepCounters } from '../../src/rate-limits/store.ts'
import { startService } from '../support/service.ts'

test('the sweep leaves the minutes that are not over', async () => {
  const { admin } = await startService()
  await admin.query(`insert into app.rate_counters (kind, issuer, subject, count, started_at) values
    ('name-taken', 'i', 'over', 1, now() - interval '61 seconds'), ('name-taken', 'i', 'running', 1, now())`)
  await sweepCounters((text) => admin.query(text))
  const { rows } = await admin.query('select subject from app.rate_counters')
  assert.deepEqual(rows, [{ subject: 'running' }])
})
