import { EventEmitter } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Logger, type Runner, run, type WorkerEvents } from 'graphile-worker'
import pg from 'pg'
import { sweepPasswordChecks } from '../accounts/password-check-store.ts'
import type { Db } from '../database.ts'
import { sweepAnswers } from '../idempotency/store.ts'
import { waitingTime } from '../imports/lease.ts'
import { workOnImports } from '../imports/run.ts'
import type { ImportWork } from '../imports/settle.ts'
import { sweepImports } from '../imports/store.ts'
import { sweepCounters } from '../rate-limits/store.ts'
import type { Logger as Log } from '../service.ts'
import { sweepTokens } from '../tokens/sweep.ts'
import type { DoveadmConfig } from './doveadm.ts'
import { purgeExpired } from './expired.ts'
import { priorities } from './queue.ts'
import { endLogins, endSessions, endSessionsOnceMore, removeMail } from './tasks.ts'
import { reconcileUsage } from './usage.ts'

export interface Worker {
  /** Lets the jobs in hand finish. */
  stop(): Promise<void>
}

const concurrency = 3
const poolSize = concurrency + 1 // one listens
const pollMs = 1_000 // for what is due at a moment; a new job is told by NOTIFY
const againMs = 1_000
const first = priorities.database

export interface WorkerOptions {
  databaseUrl: string
  db: Db
  doveadm: DoveadmConfig
  log: Log
  /** Without it this replica works on no imports. */
  imports?: Omit<ImportWork, 'db' | 'log'>
}

/** Works off the jobs for as long as the service runs, on every replica; each job is done by one of them. */
export function startWorker(options: WorkerOptions): Worker {
  const stopping = new AbortController()
  const pool = openPool(options.databaseUrl)
  const former = new Set<string>()

  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await work(pool, former, options, stopping.signal).catch((error: Error) => {
        if (stopping.signal.aborted) return
        options.log.warn({ reason: error.message }, 'the job worker is started again')
      })
      await sleep(againMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })()

  return {
    async stop() {
      stopping.abort()
      await loop
      await pool.end()
    },
  }
}

/**
 * Until it is told to stop, or cannot go on: when it has done a job and Postgres is not there to be told, the job stays
 * locked by this worker, which `former` then names to the next one.
 */
async function work(
  pool: pg.Pool,
  former: Set<string>,
  options: WorkerOptions,
  signal: AbortSignal,
): Promise<void> {
  const events: WorkerEvents = new EventEmitter()
  let id = ''
  events.on('pool:create', ({ workerPool }) => {
    id = workerPool.id
  })
  const runner = await start(pool, options, signal, events)
  const stop = () => runner.stop().catch(() => {}) // it may have stopped by itself
  signal.addEventListener('abort', stop)
  try {
    await pool.query('select graphile_worker.force_unlock_workers($1)', [[...former]])
    former.clear()
    // what was in hand when a service was killed
    await runner.addJob('run-imports', {}, { jobKey: 'run-imports', maxAttempts: 1, priority: first })
    if (!signal.aborted) await runner.promise
  } finally {
    signal.removeEventListener('abort', stop)
    await stop()
    await runner.promise
    former.add(id)
  }
}

/** A connection that breaks between two statements of the queue would end the process without a listener of its own. */
function openPool(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: poolSize, application_name: 'mailwright jobs' })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  return pool
}

/**
 * What is due by the clock, every minute or every hour; one of the replicas does it. By its queue none runs beside itself when it
 * takes longer, by its key none is written twice, not even one that failed for good.
 */
const crontab = `
* * * * * reconcile-usage ?max=2&queue=reconcile-usage&jobKey=reconcile-usage
* * * * * purge-expired ?priority=${first}&max=2&queue=purge-expired&jobKey=purge-expired
0 * * * * sweep-idempotency-keys ?priority=${first}&max=2&queue=sweep-idempotency-keys&jobKey=sweep-idempotency-keys
30 * * * * sweep-tokens ?priority=${first}&max=2&queue=sweep-tokens&jobKey=sweep-tokens
0 * * * * sweep-rate-counters ?priority=${first}&max=2&queue=sweep-rate-counters&jobKey=sweep-rate-counters
* * * * * run-imports ?priority=${first}&max=1&jobKey=run-imports
30 * * * * sweep-imports ?priority=${first}&max=2&queue=sweep-imports&jobKey=sweep-imports
0 * * * * sweep-password-checks ?priority=${first}&max=2&queue=sweep-password-checks&jobKey=sweep-password-checks
`

function start(
  pgPool: pg.Pool,
  { db, doveadm, log, imports }: WorkerOptions,
  signal: AbortSignal,
  events: WorkerEvents,
): Promise<Runner> {
  const runImports = imports && importTask({ ...imports, db, log }, signal)
  return run({
    pgPool,
    events,
    preset: {
      worker: {
        concurrentJobs: concurrency,
        pollInterval: pollMs,
        // the failure to write what became of a job ends the worker; without this, as a rejection nobody hears, the process
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
      },
    },
    noHandleSignals: true,
    crontab,
    logger: new Logger(
      () => (level, message) => log[level === 'error' || level === 'warning' ? 'warn' : 'debug'](message),
    ),
    taskList: {
      'end-sessions': (payload, { query }) => endSessions(doveadm, payload, query),
      'end-sessions-again': (payload) => endSessionsOnceMore(doveadm, payload),
      'end-logins': (payload, { query }) => endLogins(doveadm, payload, query),
      'remove-mail': (payload) => removeMail(doveadm, payload),
      'reconcile-usage': (_payload, { query }) => reconcileUsage(doveadm, query),
      'run-imports': async (_payload, { query }) => runImports?.(query),
      'sweep-imports': (_payload, { query }) => sweepImports(query),
      'purge-expired': () => purgeExpired(db),
      'sweep-idempotency-keys': (_payload, { query }) => sweepAnswers(query),
      'sweep-tokens': (_payload, { query }) => sweepTokens(query),
      'sweep-rate-counters': (_payload, { query }) => sweepCounters(query),
      'sweep-password-checks': (_payload, { query }) => sweepPasswordChecks(query),
    },
  })
}

type Query = (text: string, values?: unknown[]) => Promise<unknown>

/** One import at a time on each replica, a few seconds each: other jobs have the rest of the worker. */
function importTask(work: ImportWork, signal: AbortSignal): (query: Query) => Promise<void> {
  let working = false
  return async (query) => {
    if (working) return // and comes back for whatever is left
    working = true
    try {
      await workOnImports(work, signal)
    } finally {
      working = false
    }
    const seconds = await waitingTime(work.db)
    if (seconds === undefined) return
    // one that is due is not kept waiting by a job for later, nor a job that was sent meanwhile by one that has to wait
    await query(
      `select graphile_worker.add_job('run-imports', '{}'::json, job_key => 'run-imports', max_attempts => 1,
        job_key_mode => case when $1::float8 > 0 then 'preserve_run_at' else 'replace' end, priority => ${first},
        run_at => now() + make_interval(secs => $1::float8))`,
      [seconds],
    )
  }
}
