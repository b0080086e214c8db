import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startService } from '../support/service.ts'

const jobs = { dataDir: '/nonexistent', doveadmUrl: undefined, doveadmKeyFile: undefined }
const service = await startService({ jobs })
const { admin } = service
const client = await service.as()

async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; ) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  assert.fail(what)
}

test('the hourly sweep deletes what is no longer repeated, and nothing else', async () => {
  for (const key of ['fresh', 'nearly', 'old', 'older']) {
    await client.post('/v1/domains', { name: `${key}.example` }, { headers: { 'idempotency-key': key } })
  }
  const age = (key: string, interval: string) =>
    admin.query('update app.idempotency_keys set created_at = now() - $2::interval where key = $1', [
      key,
      interval,
    ])
  await age('nearly', '23:59:00')
  await age('old', '24:00:01')
  await age('older', '30 days')
  await admin.query(`select graphile_worker.add_job('sweep-idempotency-keys')`)
  const keys = async () =>
    (await admin.query('select key from app.idempotency_keys order by key')).rows.map((row) => row.key)
  await eventually('never swept', async () => (await keys()).length <= 2)
  assert.deepEqual(await keys(), ['fresh', 'nearly'])
})

test('is due every hour', async () => {
  const known = () =>
    admin.query(
      `select from graphile_worker._private_known_crontabs where identifier = 'sweep-idempotency-keys'`,
    )
  await eventually('not in the crontab', async () => (await known()).rows.length === 1)
})
