import { sql } from 'kysely'
import type pg from 'pg'
import type { Db } from '../database.ts'
import type { Subject } from '../subject.ts'
import { payerOf } from './refusal.ts'

const span = sql.raw(`interval '1 minute'`)

/** Counts so many more in this minute of the caller's: the sum, and the seconds until a new minute begins. */
export async function countNamesTaken(
  db: Db,
  subject: Subject,
  names: number,
): Promise<{ count: number; seconds: number }> {
  const { issuer, id } = payerOf(subject)
  const { rows } = await sql<{ count: number; seconds: number }>`
    insert into app.rate_counters as c (kind, issuer, subject, count, started_at)
    values ('name-taken', ${issuer}, ${id}, ${names}::integer, now())
    on conflict on constraint rate_counters_pkey do update set
      count = case when c.started_at + ${span} > now() then c.count else 0 end + excluded.count,
      started_at = case when c.started_at + ${span} > now() then c.started_at else now() end
    returning count, greatest(1, ceil(extract(epoch from started_at + ${span} - now())))::integer as seconds`.execute(
    db,
  )
  return rows[0]!
}

/** The same, without counting any. */
export async function readNamesTaken(db: Db, subject: Subject): Promise<{ count: number; seconds: number }> {
  const { issuer, id } = payerOf(subject)
  const { rows } = await sql<{ count: number; seconds: number }>`
    select count, greatest(1, ceil(extract(epoch from started_at + ${span} - now())))::integer as seconds
    from app.rate_counters
    where kind = 'name-taken' and issuer = ${issuer} and subject = ${id} and started_at + ${span} > now()`.execute(
    db,
  )
  return rows[0] ?? { count: 0, seconds: 0 }
}

/** Deletes the minutes that are over. */
export async function sweepCounters(query: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  await query(`delete from app.rate_counters where started_at < now() - interval '1 minute'`)
}
