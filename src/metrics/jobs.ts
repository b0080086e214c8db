import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from '../database.ts'

export interface JobCount {
  task: string
  state: 'waiting' | 'running' | 'scheduled' | 'failed'
  count: number
}

const freshMs = 5_000
const patienceMs = 2_000 // a scrape that hangs is a scrape that is lost

/** Asks the database at most every five seconds; undefined where it does not answer in time. */
export function createJobCounts(db: Db): () => Promise<JobCount[] | undefined> {
  let asked: { answer: Promise<JobCount[] | undefined>; at: number } | undefined
  return async () => {
    if (!asked || Math.abs(Date.now() - asked.at) >= freshMs) {
      const answer = countJobs(db).catch(() => undefined) // the requests that fail for it say why
      asked = { answer, at: Date.now() }
    }
    return Promise.race([asked.answer, sleep(patienceMs, undefined, { ref: false })])
  }
}

/** An installation that has just deleted a large domain has millions of jobs: so many are not counted each time. */
async function countJobs(db: Db): Promise<JobCount[]> {
  const { rows } = await sql<JobCount>`
    select task_identifier as task,
      case
        when locked_at is not null then 'running'
        when attempts >= max_attempts then 'failed'
        when run_at > now() then 'scheduled'
        else 'waiting'
      end as state,
      count(*) as count
    from (
      select task_identifier, locked_at, attempts, max_attempts, run_at from graphile_worker.jobs limit 100000
    ) as j
    group by 1, 2`.execute(db)
  return rows
}
