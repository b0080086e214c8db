import { availableParallelism } from 'node:os'
import { problem } from './problems.ts'

export interface WorkQueueLimits {
  /** How many pieces of work run at once. */
  concurrency: number
  /** How many may wait besides; the next one is refused at once. */
  maxWaiting: number
  maxWaitMs: number
}

/** What the work learns about its turn. */
export interface Turn {
  /** Whether it had to wait, so that what was looked up before may have become false. */
  waited: boolean
}

export interface WorkQueue {
  /**
   * Waits for a turn and holds it until `work` settles: first come, first served. Rejects with what `work` rejects
   * with, with the reason of `signal` when it aborts before the turn comes, or with `busy`.
   */
  run<T>(work: (turn: Turn) => T | Promise<T>, signal?: AbortSignal): Promise<T>
  readonly running: number
  readonly waiting: number
  /** How many were told `busy` since the start. */
  readonly refused: number
}

/** A burst of a thousand waits; one that could not be served in half a minute is told so at once. */
const defaults: WorkQueueLimits = {
  concurrency: availableParallelism(),
  maxWaiting: 1000,
  maxWaitMs: 30_000,
}

/** Bounds work that is expensive by intent, such as the derivation of a key from a password. */
export function createWorkQueue(limits: Partial<WorkQueueLimits> = {}): WorkQueue {
  const { concurrency, maxWaiting, maxWaitMs } = { ...defaults, ...limits }
  if (!(concurrency >= 1)) throw new RangeError('concurrency must be at least 1')
  const waiters = new Set<() => void>() // in order of arrival
  let running = 0
  let refused = 0

  async function takeTurn(signal: AbortSignal | undefined): Promise<Turn> {
    signal?.throwIfAborted()
    if (running < concurrency) {
      running += 1
      return { waited: false }
    }
    if (waiters.size >= maxWaiting) throw refuse()
    await waitIn(waiters, { maxWaitMs, signal, refuse })
    return { waited: true }
  }

  function refuse(): Error {
    refused += 1
    return busy(maxWaitMs)
  }

  // The slot goes straight to whoever waits longest, so that no newcomer can overtake.
  function endTurn(): void {
    const [next] = waiters
    if (next === undefined) running -= 1
    else next()
  }

  return {
    async run(work, signal) {
      const turn = await takeTurn(signal)
      try {
        return await work(turn)
      } finally {
        endTurn()
      }
    },
    get running() {
      return running
    },
    get waiting() {
      return waiters.size
    },
    get refused() {
      return refused
    },
  }
}

interface Wait {
  maxWaitMs: number
  signal: AbortSignal | undefined
  /** The reason of a refusal. */
  refuse(): Error
}

/** Resolves when the waiter is called. One that gives up is no longer in `waiters`, so it can be given no slot. */
function waitIn(waiters: Set<() => void>, { maxWaitMs, signal, refuse }: Wait): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      waiters.delete(enter)
      clearTimeout(timer)
      signal?.removeEventListener('abort', abandon)
    }
    const enter = () => {
      leave()
      resolve()
    }
    const abandon = () => {
      leave()
      reject(signal?.reason)
    }
    const giveUp = () => {
      leave()
      reject(refuse())
    }
    const timer = setTimeout(giveUp, maxWaitMs)
    signal?.addEventListener('abort', abandon)
    waiters.add(enter)
  })
}

/** By then everybody who waits now has had a turn or gone. */
function busy(maxWaitMs: number): Error {
  const retryAfterSeconds = Math.ceil(maxWaitMs / 1000)
  const detail = `Too much work is waiting. Nothing was changed; try again after ${retryAfterSeconds} seconds.`
  return problem('busy', { detail, retryAfterSeconds })
}
