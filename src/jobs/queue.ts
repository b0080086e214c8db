import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'

/** Whose sessions to end: each a user, or with `*` as the whole local part all of a domain. */
export interface EndSessions {
  masks: string[]
}

/** The folder of a purged mailbox, by the mailbox's id, and whose sessions may still write to it. */
export interface RemoveMail {
  id: string
  mask: string
}

/** As many as one request to Dovecot has. */
const masksAtOnce = 100

// A day of tries (the queue waits exp(attempts) seconds between two), after which sessions are long gone.
const maxAttempts = 12

/** Numbers as the queue takes them, the lowest first: what needs nothing but Postgres does not wait for Dovecot. */
export const priorities = { database: -1, sessions: 0, mail: 1 }

/**
 * The statement that writes the jobs that end the live sessions of `mask`, an SQL expression over the rows `from`, in the
 * transaction of the change: they exist exactly if the change does. One for many rows, since thousands that are locked at
 * once would keep whatever comes after them waiting. That of a single row is not written twice while it waits for its turn.
 */
export function endSessionsJobs(mask: RawBuilder<string>, from: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    select graphile_worker.add_job('end-sessions', json_build_object('masks', json_agg(x.mask)),
      job_key => case when count(*) = 1 then 'end-sessions:' || min(x.mask) end,
      max_attempts => ${maxAttempts}, priority => ${priorities.sessions})
    from (
      select ${mask} as mask, (row_number() over () - 1) / ${sql.lit(masksAtOnce)} as request from ${from}
    ) as x
    group by x.request`
}

/** Writes the job that does so again, a second later: $1 is its payload, $2 the mask where it is one. */
export const endSessionsAgain = `
  select graphile_worker.add_job('end-sessions-again', $1::json, run_at => now() + interval '1 second',
    job_key => 'end-sessions-again:' || $2, max_attempts => ${maxAttempts}, priority => ${priorities.sessions})`

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
    job_key => 'end-logins:' || ${account}, max_attempts => ${maxAttempts}, priority => ${priorities.sessions})`
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
  const priority = sql`priority => ${priorities.mail}`
  return sql`graphile_worker.add_job('remove-mail', ${payload}, ${priority}),
    graphile_worker.add_job('remove-mail', ${payload}, run_at => now() + ${secondLook}::interval, ${priority})`
}

/** The job that works on imports, as long as there are any; one that waits for its turn is enough. */
export function runImportsJob(): RawBuilder<unknown> {
  return sql`graphile_worker.add_job('run-imports', '{}'::json, job_key => 'run-imports', max_attempts => 1,
    priority => ${priorities.database})`
}

export async function endSessions(tx: Tx, mask: string): Promise<void> {
  await sql`${endSessionsJobs(sql`${mask}::text`, sql`(select) as one`)}`.execute(tx)
}
