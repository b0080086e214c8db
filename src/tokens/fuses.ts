/**
 * The limits of a token for what does harm when a job runs wild. A write that counts says so as the last thing in its
 * transaction: `await draw(tx, 'deletes', 1)`. By then it holds everything else that it needs, so that no two of them wait
 * for each other in a circle, and those of one token stand in line for a moment only. What is refused, tried or repeated
 * is rolled back or never comes there, and counts nothing. A caller without limits costs nothing.
 */
import { sql } from 'kysely'
import type { Db, Tx } from '../database.ts'
import { type ProblemError, problem } from '../problems.ts'
import { currentActor } from '../request-context.ts'
import { type Fuse, limitOf } from './limits.ts'
import type { StoredToken } from './store.ts'

/** The caller's token, where it has a limit of that kind; what its makers have, it has too. */
function limited(fuse: Fuse): StoredToken | undefined {
  const token = currentActor()?.subject.token
  return token && token[limitOf(fuse)] !== null ? token : undefined
}

export function isLimited(fuse: Fuse): boolean {
  return limited(fuse) !== undefined
}

/** For a write of one statement, which needs a transaction only where it counts. */
export function countably<T>(db: Db, fuse: Fuse, write: (db: Db) => Promise<T>): Promise<T> {
  return isLimited(fuse) && !db.isTransaction ? db.transaction().execute(write) : write(db)
}

/** The token and those that it was made with, one by the other: what it does counts against each that has a limit. */
export function chainOf({ id, ancestors }: StoredToken): string[] {
  return [...ancestors, id]
}

export const today = sql`(now() at time zone 'utc')::date`

/** What counts of f on the day of `excluded`. A transaction that began before midnight counts on the new day. */
export const used = sql`case when f.day < excluded.day then 0 else f.count end`

/** Counts so many more against the limits of the caller's token. Throws where that is too many, and nothing is done. */
export async function draw(db: Db | Tx, fuse: Fuse, count: number): Promise<void> {
  const token = limited(fuse)
  if (!token || count === 0) return
  if (!db.isTransaction) throw new TypeError('what counts is counted in the transaction of the write')
  const { rows } = await sql<{ fits: boolean }>`
    with links as (
      select t.id, ${sql.ref(`t.${limitOf(fuse)}`)} as allowed from app.tokens as t where t.id = any (${chainOf(token)}::uuid[])
    ), drawn as (
      insert into app.token_fuses as f (token, kind, day, count, allowed)
      select l.id, ${fuse}, ${today}, ${count}::integer, l.allowed from links as l
      where l.allowed >= ${count}::integer
      order by l.id
      on conflict on constraint token_fuses_pkey do update
        set day = greatest(f.day, excluded.day), count = ${used} + excluded.count
        where f.blown_at is null and ${used} + excluded.count <= f.allowed
      returning f.token
    )
    select (select count(allowed) from links) = (select count(*) from drawn) as fits`.execute(db)
  const whole = (drawnBefore.get(db)?.get(fuse) ?? 0) + count
  if (!rows[0]?.fits) throw refuse(fuse, whole)
  drawnBefore.set(db, new Map(drawnBefore.get(db)).set(fuse, whole))
}

/** In the same transaction: what it drew in all is what it wanted. */
const drawnBefore = new WeakMap<Db | Tx, Map<Fuse, number>>()

/** Before work that would be in vain, such as hashing; `draw` alone decides. */
export async function assertWhole(db: Db, fuse: Fuse): Promise<void> {
  const token = limited(fuse)
  if (!token) return
  const { rows } = await sql`
    select from app.token_fuses as f
    where f.token = any (${chainOf(token)}::uuid[]) and f.kind = ${fuse} and f.blown_at is not null`.execute(
    db,
  )
  if (rows.length > 0) throw refuse(fuse, 1)
}

/** What was wanted is noted for whoever blows the fuse (src/tokens/blow.ts). */
function refuse(fuse: Fuse, count: number): ProblemError {
  currentActor()!.overdraw = { fuse, count }
  const detail = `The limit \`${limitOf(fuse)}\` of the token, or of one that it was made with, does not allow this (it counts ${count}). Nothing was changed. No time mends that: another token has to reset it.`
  return problem('fuse-blown', { detail })
}
