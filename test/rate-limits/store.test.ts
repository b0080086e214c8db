import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually } from '../support/embedded.ts'
import { startService } from '../support/service.ts'

const jobs = { dataDir: '/nonexistent', doveadmUrl: undefined, doveadmKeyFile: undefined }
const { admin } = await startService({ jobs })

test('the hourly sweep leaves the minutes that are not over', async () => {
  await admin.query(`insert into app.rate_counters (kind, issuer, subject, count, started_at) values
    ('name-taken', 'i', 'over', 1, now() - interval '61 seconds'), ('name-taken', 'i', 'running', 1, now())`)
  await admin.query(`select graphile_worker.add_job('sweep-rate-counters')`)
  await eventually(async () => {
    const { rows } = await admin.query('select subject from app.rate_counters')
    assert.deepEqual(rows, [{ subject: 'running' }])
  })
})

test('it is due every hour', () =>
  eventually(async () => {
    const { rows } = await admin.query('select identifier from graphile_worker._private_known_crontabs')
    assert.ok(rows.some(({ identifier }) => identifier === 'sweep-rate-counters'))
  }))
