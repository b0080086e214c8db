import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'

/** Whose sessions to end: one user, or with `*` as the whole local part all of a domain. */
export interface EndSessions {
  mask: string
}

// A day of tries (the queue waits exp(attempts) seconds between two), after which sessions are long gone.
const maxAttempts = 12

/**
 * The job that ends the live sessions of `mask`, an SQL expression, written in the transaction of the change: it
 * exists exactly if the change does. One that still waits for its turn is not written twice.
 */
export function endSessionsJob(mask: RawBuilder<string>): RawBuilder<unknown> {
  return sql`graphile_worker.add_job('end-sessions', json_build_object('mask', ${mask}),
    job_key => 'end-sessions:' || ${mask}, max_attempts => ${maxAttempts})`
}

export async function endSessions(tx: Tx, mask: string): Promise<void> {
  await sql`select ${endSessionsJob(sql<string>`${mask}::text`)}`.execute(tx)
}
