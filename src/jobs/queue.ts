import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'

/** Whose sessions to end: one user, or with `*` as the whole local part all of a domain. */
export interface EndSessions {
  mask: string
}

/** The folder of a purged mailbox, by the mailbox's id, and whose sessions may still write to it. */
export interface RemoveMail extends EndSessions {
  id: string
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

/** A delivery that was under way while the mailbox was purged may make its folder anew. */
const secondLook = '10 minutes'

/**
 * The jobs that remove the mail of a mailbox, written in the transaction that purges it; `id` and `mask` are SQL
 * expressions. Nobody can reach the folder any more, so it does not matter when they are done.
 */
export function removeMailJobs(id: RawBuilder<unknown>, mask: RawBuilder<unknown>): RawBuilder<unknown> {
  const payload = sql`json_build_object('id', ${id}, 'mask', ${mask})`
  return sql`graphile_worker.add_job('remove-mail', ${payload}),
    graphile_worker.add_job('remove-mail', ${payload}, run_at => now() + ${secondLook}::interval)`
}

export async function endSessions(tx: Tx, mask: string): Promise<void> {
  await sql`select ${endSessionsJob(sql<string>`${mask}::text`)}`.execute(tx)
}
