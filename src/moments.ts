import { sql } from 'kysely'
import type { Db } from './database.ts'
import { problemAt } from './problems.ts'

/** Between taking its time and showing it in pg_stat_activity a transaction may be held up a moment. */
const margin = '1 second'

/**
 * A moment not later than the start of the oldest write still running: whatever is committed after this call has its
 * time at or after it. To be asked before the list is read.
 */
export async function readAsOf(db: Db): Promise<string> {
  const { rows } = await sql<{ as_of: Date }>`
    select least(now(), min(xact_start)) - ${margin}::interval as as_of
    from pg_stat_activity where datname = current_database()`.execute(db)
  return rows[0]!.as_of.toISOString()
}

/**
 * The moment that an RFC 3339 text names; undefined where it names none. Date knows neither lower case nor a leap
 * second (§5.6, §5.7).
 */
export function readMoment(text: string): Date | undefined {
  const time = Date.parse(text.toUpperCase().replace(/:60(?=[.Z+-])/, ':59'))
  return Number.isNaN(time) ? undefined : new Date(time)
}

/** PostgreSQL refuses years and offsets that RFC 3339 allows. Nothing was changed here before 1970. */
export function parseMoment(text: string, pointer: string): Date {
  const moment = readMoment(text)
  if (moment === undefined) throw problemAt('invalid-request', pointer, 'is not a moment')
  return new Date(Math.max(moment.getTime(), 0))
}
