import { sql } from 'kysely'
import type { Db } from '../database.ts'
import { purgeMailbox } from '../mailboxes/deletion.ts'
import { ProblemError } from '../problems.ts'

const batch = 500

const lost = new Set(['mailbox-not-found', 'on-hold'])

/** Purges the deleted mailboxes whose time is over, each in a transaction of its own, as DELETE with purge=true does. */
export async function purgeExpired(db: Db): Promise<void> {
  for (;;) {
    const { rows } = await sql<{ id: string }>`
      select id from app.mailboxes
      where state = 'deleted' and not hold and purge_at <= now() order by purge_at limit ${batch}`.execute(db)
    for (const { id } of rows) await purge(db, id)
    if (rows.length < batch) return
  }
}

async function purge(db: Db, id: string): Promise<void> {
  const target = { key: { id }, visible: '*', precondition: undefined, expired: true } as const
  try {
    await db.transaction().execute((tx) => purgeMailbox(tx, target, false))
  } catch (error) {
    // somebody else purged or restored it first, or holds it
    if (!(error instanceof ProblemError && lost.has(error.code))) throw error
  }
}
