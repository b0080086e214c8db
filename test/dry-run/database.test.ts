import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as later } from 'node:timers/promises'
import { sql } from 'kysely'
import { type Db, openDatabase } from '../../src/database.ts'
import type { DomainName } from '../../src/domains/name.ts'
import { currentTrial, tryOut } from '../../src/dry-run/trial.ts'
import { until } from '../support/races.ts'
import { everyRow } from '../support/rows.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const { db, admin } = service

const insertDomain = (to: Db, name: string) =>
  to
    .insertInto('domains')
    .values({ name: name as DomainName })
    .execute()
const listDomains = async (from: Db) =>
  (await from.selectFrom('domains').select('name').orderBy('name').execute()).map(({ name }) => String(name))

/** Sessions of the service that are in a transaction. */
async function openTransactions(): Promise<number> {
  const { rows } = await admin.query(
    `select from pg_stat_activity
     where datname = current_database() and application_name = 'mailwright' and state <> 'idle'`,
  )
  return rows.length
}

async function assertUndone<T>(work: () => Promise<T>): Promise<T> {
  const before = await everyRow(admin)
  try {
    return await tryOut(work)
  } finally {
    assert.deepEqual(await everyRow(admin), before)
    assert.equal(await openTransactions(), 0)
  }
}

const constraint = (name: string) => (error: { constraint?: string }) => error.constraint === name

test('statements and transactions of a trial see what those before did, and nothing of it is kept', async () => {
  const seen = await assertUndone(async () => {
    await insertDomain(db, 'a.example')
    await db.transaction().execute((tx) => insertDomain(tx, 'b.example'))
    return listDomains(db)
  })
  assert.deepEqual(seen, ['a.example', 'b.example'])
})

test('single statements find their way between those of a transaction, and fail alone there too', async () => {
  const seen = await assertUndone(async () => {
    await insertDomain(db, 'a.example')
    await db.transaction().execute(async (tx) => {
      await insertDomain(tx, 'b.example')
      await insertDomain(db, 'c.example')
      await assert.rejects(insertDomain(db, 'a.example'), constraint('domains_pkey'))
      await insertDomain(db, 'd.example')
      await insertDomain(tx, 'e.example')
    })
    await assert.rejects(insertDomain(db, 'e.example'), constraint('domains_pkey'))
    const failing = db.transaction().execute(async (tx) => {
      await insertDomain(tx, 'f.example')
      await insertDomain(db, 'g.example')
      await insertDomain(tx, 'b.example')
    })
    await assert.rejects(failing, constraint('domains_pkey'))
    await insertDomain(db, 'h.example')
    return listDomains(db)
  })
  const kept = ['a', 'b', 'c', 'd', 'e', 'h'] // what came between has gone with the transaction
  assert.deepEqual(
    seen,
    kept.map((name) => `${name}.example`),
  )
})

test('what fails undoes itself and nothing else', async () => {
  const seen = await assertUndone(async () => {
    await insertDomain(db, 'a.example')
    await assert.rejects(insertDomain(db, 'a.example'), constraint('domains_pkey'))
    const failing = db.transaction().execute(async (tx) => {
      await insertDomain(tx, 'b.example')
      await insertDomain(tx, 'a.example')
    })
    await assert.rejects(failing, constraint('domains_pkey'))
    const refused = db.transaction().execute(async (tx) => {
      await insertDomain(tx, 'c.example')
      throw new Error('refused')
    })
    await assert.rejects(refused, /refused/)
    await insertDomain(db, 'd.example')
    return listDomains(db)
  })
  assert.deepEqual(seen, ['a.example', 'd.example'])
})

test('a deferred constraint refuses a transaction and a statement as it would at their end', async () => {
  await service.as().then((client) => client.post('/v1/domains', { name: 'kept.example' }))
  await admin.query(`insert into app.accounts (name, authentication) values ('user05', 'local')`)
  await admin.query(`insert into app.addresses (name, domain, kind, holds_name)
    values ('user05', 'kept.example', 'mailbox', true)`)
  await admin.query(`insert into app.mailboxes (name, domain) values ('user05', 'kept.example')`)
  const deleteAccount = (from: Db) => sql`delete from app.accounts where name = 'user05'`.execute(from)
  const isRefused = constraint('mailboxes_account_fkey')
  await assert.rejects(deleteAccount(db), isRefused)
  await assertUndone(async () => {
    await assert.rejects(deleteAccount(db), isRefused)
    const deferred = db.transaction().execute(async (tx) => {
      await deleteAccount(tx)
      await sql`select 1`.execute(tx) // not refused before its time
      await later()
    })
    await assert.rejects(deferred, isRefused)
    await db.transaction().execute(async (tx) => {
      await deleteAccount(tx)
      await sql`delete from app.mailboxes where name = 'user05'`.execute(tx)
    })
  })
})

test('queries side by side take turns, and so do transactions', async () => {
  const seen = await assertUndone(async () => {
    const slow = async (tx: Db, name: string) => {
      await insertDomain(tx, name)
      await later()
      await sql`select pg_sleep(0.01)`.execute(tx)
    }
    const results = await Promise.allSettled([
      ...['a', 'b', 'c'].map((name) => db.transaction().execute((tx) => slow(tx, `${name}.example`))),
      db.transaction().execute((tx) => slow(tx, 'a.example')),
      insertDomain(db, 'd.example'),
      listDomains(db),
    ])
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'fulfilled', 'fulfilled'],
    )
    return listDomains(db)
  })
  assert.deepEqual(seen, ['a.example', 'b.example', 'c.example', 'd.example', 'kept.example'])
})

test('savepoints within a transaction work as ever', async () => {
  const seen = await assertUndone(async () => {
    const tx = await db.startTransaction().execute()
    await insertDomain(tx, 'a.example')
    const after = await tx.savepoint('mine').execute()
    await insertDomain(after, 'b.example')
    await after.rollbackToSavepoint('mine').execute()
    await tx.commit().execute()
    return listDomains(db)
  })
  assert.deepEqual(seen, ['a.example', 'kept.example'])
})

test('what is left over when a trial ends is refused, not done', async () => {
  let late: Promise<unknown> = Promise.resolve()
  await assertUndone(async () => {
    await assert.rejects(
      Promise.all([
        insertDomain(db, 'kept.example'),
        (async () => {
          late = sql`select pg_sleep(0.05)`.execute(db).then(() => insertDomain(db, 'late.example'))
          late.catch(() => {})
        })(),
      ]),
    )
  })
  await assert.rejects(late, /trial .* is over/)
})

test('a trial that asks nothing of the database holds no connection', async () => {
  const none = openDatabase('postgres://127.0.0.1:1/nothing')
  assert.equal(await tryOut(async () => currentTrial() !== undefined), true)
  await assert.rejects(tryOut(() => listDomains(none)))
  await none.destroy()
  assert.equal(currentTrial(), undefined)
})

test('half of the connections are left to the others, and every one is given back', async (t) => {
  const small = openDatabase(String(admin.options.connectionString), { poolSize: 4 })
  t.after(() => small.destroy())
  let release = () => {}
  const hold = new Promise<void>((resolve) => {
    release = resolve
  })
  const trials = Array.from({ length: 8 }, () =>
    tryOut(async () => {
      await listDomains(small)
      await hold
      throw new Error('in the end')
    }),
  )
  const settled = Promise.allSettled(trials)
  try {
    await until(async () => (await openTransactions()) === 2)
    await Promise.all([listDomains(small), listDomains(small), listDomains(small)])
    assert.equal(await openTransactions(), 2)
  } finally {
    release()
  }
  for (const result of await settled)
    assert.match(String(result.status === 'rejected' && result.reason), /in the end/)
  assert.equal(await openTransactions(), 0)
  await Promise.all(Array.from({ length: 8 }, () => tryOut(() => insertDomain(small, 'a.example'))))
})

test('a connection that is lost in a trial is not used again', async () => {
  await assert.rejects(
    tryOut(async () => {
      await insertDomain(db, 'a.example')
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'mailwright' and state = 'idle in transaction'`,
      )
      await insertDomain(db, 'b.example')
    }),
  )
  assert.deepEqual(await listDomains(db), ['kept.example'])
  assert.deepEqual(await assertUndone(() => listDomains(db)), ['kept.example'])
})
