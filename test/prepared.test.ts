import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { findMailbox } from '../src/mailboxes/store.ts'
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

test('its plan is of the first use, and by indexes even while the tables are empty', async () => {
  const key = { name: 'nobody', domain: 'example.jp' } as never
  await db.connection().execute(async (one) => {
    for (let i = 0; i < 7; i++) await findMailbox(one, { key, visible: '*' })
    const { rows } = await sql<{ generic_plans: number; seqscan: string; mode: string }>`
      select generic_plans, current_setting('enable_seqscan') as seqscan, current_setting('plan_cache_mode') as mode
      from pg_prepared_statements where name = 'mailbox-by-address'`.execute(one)
    assert.deepEqual([rows[0]?.seqscan, rows[0]?.mode], ['on', 'auto'])
    assert.ok(rows[0]!.generic_plans >= 1)
    await sql`set plan_cache_mode = force_generic_plan`.execute(one)
    const plan = await sql<Record<string, string>>`
      explain execute "mailbox-by-address" ('nobody', 'example.jp', '{active}')`.execute(one)
    const text = plan.rows.map((row) => row['QUERY PLAN']).join('\n')
    assert.match(text, /Index Scan using mailboxes_pkey/)
    assert.doesNotMatch(text, /Seq Scan on (mailboxes|accounts|domains|usage|last_login)/)
    await sql`reset plan_cache_mode`.execute(one)
  })
})

test('one that fails at its first use in a transaction leaves the session as it was', async () => {
  const fail = prepare<{ by: number }, object>('test-fail', ({ by }) => sql`select 1 / ${by}::int`)
  await db.connection().execute(async (one) => {
    const failing = one.transaction().execute((tx) => fail(tx, { by: 0 }))
    await assert.rejects(failing, /division by zero/)
    const { rows } = await sql`
      select current_setting('enable_seqscan') as seqscan, current_setting('plan_cache_mode') as mode`.execute(
      one,
    )
    assert.deepEqual(rows, [{ seqscan: 'on', mode: 'auto' }])
    assert.deepEqual(await fail(one, { by: 1 }), [{ '?column?': 1 }])
  })
})
