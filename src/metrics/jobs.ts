import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from '../database.ts'

/** By state; a type, so that its members can be listed. */
export type JobCounts = Record<'waiting' | 'running' | 'scheduled' | 'failed', number>

const freshMs = 5_000
const patienceMs = 2_000 // a scrape that hangs is a scrape that is lost

/** Asks the database at most every five seconds; undefined where it does not answer in time. */
export function createJobCounts(db: Db): () => Promise<JobCounts | undefined> {
  let asked: { answer: Promise<JobCounts | undefined>; at: number } | undefined
  return async () => {
    if (!asked || Math.abs(Date.now() - asked.at) >= freshMs) {
      const answer = countJobs(db).catch(() => undefined) // the requests that fail for it say why
      asked = { answer, at: Date.now() }
    }
    return Promise.race([asked.answer, sleep(patienceMs, undefined, { ref: false })])
  }
}

/** An installation that has just deleted a large domain has millions of jobs: so many are not counted each time. */
async function countJobs(db: Db): Promise<JobCounts> {
  const { rows } = await sql<JobCounts>`
    select count(*) filter (where locked_at is null and attempts < max_attempts and run_at <= now()) as waiting,
      count(*) filter (where locked_at is not null) as running,
      count(*) filter (where locked_at is null and attempts < max_attempts and run_at > now()) as scheduled,
      count(*) filter (where locked_at is null and attempts >= max_attempts) as failed
    from (
      select locked_at, attempts, max_attempts, run_at from graphile_worker.jobs limit 100000
    ) as j`.execute(db)
  return rows[0]!
}
