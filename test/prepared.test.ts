import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { findMailbox } from '../src/mailboxes/store.ts'
import { prepare, runPrepared } from '../src/prepared.ts'
import { fillMailboxes, nameOf } from './support/many.ts'
import { startService } from './support/service.ts'

const { db, admin } = await startService()

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

test('so is each shape of a statement that has a few', async () => {
  const sum = (terms: number[]) => sql<{ sum: number; parsed: number }>`
    select ${sql.join(
      terms.map((term) => sql`${term}::int`),
      sql` + `,
    )} as sum, (select count(*) from pg_prepared_statements where name like 'test-terms-%') as parsed`
  await db.connection().execute(async (one) => {
    for (const [terms, expected] of [
      [[1, 2], { sum: 3, parsed: 1 }],
      [[3, 4], { sum: 7, parsed: 1 }],
      [[1, 2, 3], { sum: 6, parsed: 2 }],
    ] as const)
      assert.deepEqual(await runPrepared(one, 'test-terms', sum([...terms])), [expected])
  })
})

test('its plan is by indexes, also where it was made while there were few rows, and they were analyzed', async () => {
  const few = { mailboxes: 100, big: 'few.example' }
  await fillMailboxes(admin, few) // and analyzed
  const key = { name: nameOf(10), domain: few.big } as never
  await db.connection().execute(async (one) => {
    for (let i = 0; i < 10; i++) assert.ok(await findMailbox(one, { key, visible: '*' }))
    await sql`set plan_cache_mode = force_generic_plan`.execute(one)
    const { rows } = await sql<Record<string, string>>`
      explain execute "mailbox-by-address" ('nobody', 'example.jp', '{active}')`.execute(one)
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    assert.match(plan, /Index Scan using mailboxes_pkey/)
    assert.doesNotMatch(plan, /Seq Scan on (mailboxes|accounts|domains|usage|last_login)/)
    await sql`reset plan_cache_mode`.execute(one)
  })
})
