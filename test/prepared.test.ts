import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { prepare } from '../src/prepared.ts'
import { startService } from './support/service.ts'

const { db } = await startService()

test('a prepared statement is parsed once on a connection, and gets its values each time', async () => {
  const select = prepare<{ left: number; right: number | null }, { sum: number | null; parsed: string }>(
    'test-sum',
    ({ left, right }) => sql`
      select ${left}::int + ${right}::int as sum,
        (select count(*) from pg_prepared_statements where name = 'test-sum') as parsed`,
  )
  await db.connection().execute(async (one) => {
    assert.deepEqual(await select(one, { left: 1, right: 2 }), [{ sum: 3, parsed: 1 }])
    assert.deepEqual(await select(one, { left: 40, right: 2 }), [{ sum: 42, parsed: 1 }])
    assert.deepEqual(await select(one, { left: 40, right: null }), [{ sum: null, parsed: 1 }])
  })
  const rolledBack = db.transaction().execute(async (tx) => {
    assert.deepEqual(await select(tx, { left: 5, right: 5 }), [{ sum: 10, parsed: 1 }])
    throw new Error('rolled back')
  })
  await assert.rejects(rolledBack, /rolled back/)
})
