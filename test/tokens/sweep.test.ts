import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/races.ts'
import { startService } from '../support/service.ts'

const jobs = { dataDir: '/nonexistent', doveadmUrl: undefined, doveadmKeyFile: undefined }
const { admin } = await startService({ jobs })

/** A token and one that was made with it, which ended so many days ago. */
async function insertPair(label: string, days: number): Promise<void> {
  await admin.query(
    `with parent as (
       insert into app.tokens (id, label, scopes, domains, created_by, created_at, expires_at)
       values (gen_random_uuid(), $1, '{domains:read}', '{*}', 'hr', date_trunc('second', now()) - interval '200 days',
         now() - make_interval(days => $2))
       returning *
     )
     insert into app.tokens (id, parent, ancestors, label, scopes, domains, created_by, created_at, expires_at)
     select gen_random_uuid(), id, array[id], label, scopes, domains, created_by, created_at, expires_at from parent`,
    [label, days],
  )
}

test('the hourly sweep removes what ended long ago, with what was made with it, and nothing else', async () => {
  await insertPair('long ago', 91)
  await insertPair('lately', 89)
  await insertPair('to come', -30)
  await admin.query(`update app.tokens set revoked_at = now() where label = 'to come'`)
  await admin.query(`select graphile_worker.add_job('sweep-tokens')`)
  const counts = async () =>
    (await admin.query('select label, count(*)::int as n from app.tokens group by label order by label')).rows
  await until(async () => (await counts()).length <= 2)
  assert.deepEqual(await counts(), [
    { label: 'lately', n: 2 },
    { label: 'to come', n: 2 },
  ])
})

test('is due every hour', async () => {
  const known = `select from graphile_worker._private_known_crontabs where identifier = 'sweep-tokens'`
  await until(async () => (await admin.query(known)).rows.length === 1)
})
