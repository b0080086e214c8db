import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/races.ts'
import { startService } from '../support/service.ts'

const jobs = { dataDir: '/nonexistent', doveadmUrl: undefined, doveadmKeyFile: undefined }
const { admin } = await startService({ jobs })

const inSeconds = async (name: string, seconds: number) =>
  admin.query(
    `insert into app.password_checks (account, found, full_at)
     values (sha256(convert_to($1, 'UTF8')), true, now() + make_interval(secs => $2))`,
    [name, seconds],
  )

test('the hourly sweep deletes what says nothing any more, and nothing else', async () => {
  await inSeconds('long ago', -86_400)
  await inSeconds('just now', -1)
  await inSeconds('not yet', 300)
  await admin.query(`select graphile_worker.add_job('sweep-password-checks')`)
  const left = async () => (await admin.query('select full_at > now() as kept from app.password_checks')).rows
  await until(async () => (await left()).length <= 1)
  assert.deepEqual(await left(), [{ kept: true }])
})

test('is due every hour', () =>
  until(async () => {
    const { rows } = await admin.query(
      `select from graphile_worker._private_known_crontabs where identifier = 'sweep-password-checks'`,
    )
    return rows.length === 1
  }))
