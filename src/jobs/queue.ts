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

/** Whose sessions to end, once the time of the account is over. */
export interface EndLogins {
  account: string
}

/**
 * The job that ends the live sessions of an account at a moment, both SQL expressions, written in the transaction that
 * sets it. Another moment takes its place. It names the account and not the address, which may be another one by then.
 */
export function endLoginsJob(account: RawBuilder<unknown>, at: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`graphile_worker.add_job('end-logins', json_build_object('account', ${account}), run_at => ${at},
    job_key => 'end-logins:' || ${account}, max_attempts => ${maxAttempts})`
}

/** null: no moment, and no job any more. */
export async function endLogins(tx: Tx, account: string, at: Date | null): Promise<void> {
  const name = sql`${account}::text`
  if (at === null) await sql`select graphile_worker.remove_job('end-logins:' || ${name})`.execute(tx)
  else await sql`select ${endLoginsJob(name, sql`${at}::timestamptz`)}`.execute(tx)
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

/** The job that works on imports, as long as there are any; one that waits for its turn is enough. */
export function runImportsJob(): RawBuilder<unknown> {
  return sql`graphile_worker.add_job('run-imports', '{}'::json, job_key => 'run-imports', max_attempts => 1)`
}

export async function endSessions(tx: Tx, mask: string): Promise<void> {
  await sql`select ${endSessionsJob(sql<string>`${mask}::text`)}`.execute(tx)
}
