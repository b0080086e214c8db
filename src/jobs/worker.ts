import { setTimeout as sleep } from 'node:timers/promises'
import { Logger, type Runner, run } from 'graphile-worker'
import type { Logger as Log } from '../service.ts'
import { type DoveadmConfig, endSessions } from './tasks.ts'

export interface Worker {
  /** Lets the jobs in hand finish. */
  stop(): Promise<void>
}

const concurrency = 4
const pollMs = 2_000 // for what was scheduled; a new job is told by NOTIFY
const againMs = 1_000

/** Works off the jobs for as long as the service runs, on every replica; each job is done by one of them. */
export function startWorker(databaseUrl: string, config: DoveadmConfig, log: Log): Worker {
  const stopping = new AbortController()
  let runner: Runner | undefined

  const loop = (async () => {
    while (!stopping.signal.aborted) {
      try {
        runner = await start(databaseUrl, config, log)
        if (stopping.signal.aborted) await runner.stop()
        await runner.promise
      } catch (error) {
        log.warn({ reason: (error as Error).message }, 'the job worker is started again')
      }
      await sleep(againMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
  })()

  return {
    async stop() {
      stopping.abort()
      await runner?.stop().catch(() => {})
      await loop
    },
  }
}

function start(connectionString: string, config: DoveadmConfig, log: Log): Promise<Runner> {
  return run({
    connectionString,
    concurrency,
    pollInterval: pollMs,
    noHandleSignals: true,
    maxPoolSize: 3,
    crontab: '',
    logger: new Logger(
      () => (level, message) =>
        log[level === 'warning' ? 'warn' : level === 'error' ? 'warn' : 'debug'](message),
    ),
    taskList: { 'end-sessions': (payload) => endSessions(config, payload) },
  })
}
