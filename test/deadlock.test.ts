import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { againAfterDeadlock } from '../src/deadlock.ts'
import { startService } from './support/service.ts'

const { db, admin, as } = await startService()

test('of two that wait for each other both are done', async () => {
  const api = await as()
  for (const name of ['one.jp', 'two.jp']) await api.post('/v1/domains', { name })
  const meet = Promise.withResolvers<void>()
  let begun = 0
  const lockBoth = (first: string, second: string) =>
    againAfterDeadlock(() =>
      db.transaction().execute(async (tx) => {
        await sql`update app.domains set updated_at = now() where name = ${first}`.execute(tx)
        if (++begun >= 2) meet.resolve()
        await meet.promise
        await sql`update app.domains set mailbox_limit = coalesce(mailbox_limit, 0) + 1 where name = ${second}`.execute(
          tx,
        )
      }),
    )
  await Promise.all([lockBoth('one.jp', 'two.jp'), lockBoth('two.jp', 'one.jp')])
  assert.equal(begun, 3, 'one of them had to begin again')
  const { rows } = await admin.query('select mailbox_limit from app.domains')
  assert.deepEqual(rows, [{ mailbox_limit: 1 }, { mailbox_limit: 1 }])
})

test('other errors, and what fails for ever, are thrown', async () => {
  let calls = 0
  const fail = (code: string) => () => {
    calls++
    return Promise.reject(Object.assign(new Error(code), { code }))
  }
  await assert.rejects(againAfterDeadlock(fail('40P01')), /40P01/)
  assert.equal(calls, 3)
  await assert.rejects(againAfterDeadlock(fail('23505')), /23505/)
  assert.equal(calls, 4)
})
