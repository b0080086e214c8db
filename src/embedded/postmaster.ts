import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

export type Log = (level: 'info' | 'warn' | 'error', message: string) => void

export interface Supervised {
  /** Resolves when Postgres is gone and stays gone; may be called more than once. */
  stop(): Promise<void>
}

const firstPauseMs = 100
const longestPauseMs = 5000

/** Starts Postgres again whenever it ends, until `stop`. */
export function supervise(first: ChildProcess, launch: () => Promise<ChildProcess>, log: Log): Supervised {
  let child = first
  let stopped: Promise<void> | undefined
  const stopping = new AbortController()
  const { signal } = stopping

  async function watch(): Promise<void> {
    let pauseMs = firstPauseMs
    while (true) {
      const since = Date.now()
      const end = await ending(child)
      if (signal.aborted) return
      if (Date.now() - since > longestPauseMs) pauseMs = firstPauseMs
      log('error', `The embedded Postgres ended (${end}) and is started again in ${pauseMs} ms.`)
      await sleep(pauseMs, undefined, { ref: false, signal }).catch(() => undefined)
      if (signal.aborted) return
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
      child = await launch().catch((error: Error) => {
        log('error', `The embedded Postgres could not be started: ${error.message}`)
        return child
      })
    }
  }

  const watched = watch()
  return { stop: () => (stopped ??= end()) }

  async function end(): Promise<void> {
    stopping.abort()
    await stopChild(() => child, watched)
  }
}

/** How the process ended; resolves at once when it has ended already. */
export async function ending(child: ChildProcess): Promise<string> {
  if (!hasEnded(child)) {
    // Without a pid there was no process, and there will be no exit.
    await (child.pid ? once(child, 'exit') : undefined)
  }
  return child.signalCode ?? `exit code ${child.exitCode}`
}

export function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

/** Fast shutdown, then immediate, then by force. The child is asked for anew, as it may be changing. */
export async function stopChild(child: () => ChildProcess, gone: Promise<unknown>): Promise<void> {
  const done = gone.then(() => true)
  for (const [signal, seconds] of [
    ['SIGINT', 30] as const,
    ['SIGQUIT', 10] as const,
    ['SIGKILL', 10] as const,
  ]) {
    for (const until = Date.now() + seconds * 1000; Date.now() < until; ) {
      child().ref()
      child().kill(signal)
      if (await Promise.race([done, sleep(500, false)])) return
    }
  }
}
