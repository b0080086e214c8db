import { createHash } from 'node:crypto'
import { sql } from 'kysely'
import type pg from 'pg'
import type { Db } from '../database.ts'
import type { Subject } from '../subject.ts'
import type { AccountName } from './name.ts'

/** So many checks of one account may fail in a row; then one comes back each minute. */
export const checksInARow = 5
const secondsForOne = 60
const one = sql.raw(`interval '${secondsForOne} seconds'`)
const all = sql.raw(`interval '${checksInARow * secondsForOne} seconds'`)

export interface CheckTarget {
  name: AccountName
  visible: Subject['domains']
}

/** Stands for the name where the name itself is not to be kept. */
export function digestOf(name: AccountName): Buffer {
  return createHash('sha256').update(name).digest()
}

/** A check that is under way, and what it checks against. */
export interface Attempt {
  /** null: no such account for this caller, or no verifier. */
  verifier: string | null
  /** Whether this caller sees the account. */
  found: boolean
  /** false: too many have failed. */
  taken: boolean
  /** Where it was not taken. Those that raced with it are not seen yet; then it is the longest. */
  retry_after_seconds: number
}

/**
 * Counts the check as failed before it is made, so that no number of them at once gets past the limit. One statement,
 * and the same whether there is such an account or not.
 */
export async function takeAttempt(db: Db, target: CheckTarget): Promise<Attempt> {
  const account = digestOf(target.name)
  const { rows } = await sql<Attempt>`
    with seen as materialized (${seen(target)}),
    asked as (select (select verifier from seen) as verifier, exists (select from seen) as found),
    taken as (
      insert into app.password_checks as c (account, found, full_at)
      select ${account}::bytea, asked.found, now() + ${one} from asked
      on conflict on constraint password_checks_pkey do update
        set full_at = greatest(c.full_at, now()) + ${one}
        where greatest(c.full_at, now()) + ${one} <= now() + ${all}
      returning full_at
    )
    select asked.verifier, asked.found, exists (select from taken) as taken,
      case when w.seconds between 1 and ${secondsForOne} then w.seconds else ${secondsForOne} end as retry_after_seconds
    from asked
      left join app.password_checks as c on c.account = ${account} and c.found = asked.found
      cross join lateral (
        select ceil(extract(epoch from c.full_at + ${one} - ${all} - now()))::integer as seconds
      ) as w`.execute(db)
  return rows[0]!
}

/** The check did not fail, or was not made. */
export async function giveBack(db: Db, { name }: CheckTarget, { found }: Attempt): Promise<void> {
  await db
    .updateTable('password_checks')
    .set({ full_at: sql`full_at - ${one}` })
    .where('account', '=', digestOf(name))
    .where('found', '=', found)
    .execute()
}

/** As it is now; a password may have been set since the attempt was taken. */
export async function findVerifier(db: Db, target: CheckTarget): Promise<string | null> {
  const { rows } = await sql<{ verifier: string | null }>`${seen(target)}`.execute(db)
  return rows[0]?.verifier ?? null
}

/** One row, where the caller sees the account. A lock or `disabled` does not count: it is about the password alone. */
function seen({ name, visible }: CheckTarget) {
  const domains = visible === '*' ? null : visible
  return sql<{ verifier: string | null }>`
    select app.verifier_for_check(a.name) as verifier
    from app.accounts as a left join app.mailboxes as m on m.name = a.name and m.state = 'active'
    where a.name = ${name} and a.state = 'active'
      and (${domains}::text[] is null or m.domain = any (${domains}::text[]))`
}

/** Deletes what says no more than no row does. */
export async function sweepPasswordChecks(query: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  await query('delete from app.password_checks where full_at <= now()')
}
