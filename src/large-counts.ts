import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { allowLongStatements, type Db, type Tx } from './database.ts'
import { problem } from './problems.ts'

const freshMs = 60_000
const patienceMs = { forNewer: 2_000, forFirst: 10_000 }
const forgottenMs = 3_600_000

export interface Counting<Counts> {
  /** Whether there is too much to be counted at each call; answered with a bounded number of rows. */
  isLarge(key: string): Promise<boolean>
  count(db: Db | Tx, key: string): Promise<Counts>
}

/**
 * Counts at each call while that is cheap. What is large is counted by one statement at a time and at most once a minute,
 * beside the requests: who asks waits a moment for newer counts and then gets those that there are, with their `as_of`.
 */
export function createCounts<Counts extends { as_of: Date }>(
  db: Db,
  { isLarge, count }: Counting<Counts>,
): (key: string) => Promise<Counts> {
  const remembered = new Map<string, Counts>()
  const underWay = new Map<string, Promise<Counts>>()
  // a count goes on when its request has ended, so it is no part of it, nor of its trial
  const outside = AsyncLocalStorage.snapshot()

  const recount = async (key: string) => {
    const counting = db.transaction().execute(async (tx) => {
      await allowLongStatements(tx)
      return count(tx, key)
    })
    const counts = await counting.finally(() => underWay.delete(key))
    remembered.set(key, counts)
    return counts
  }

  return async (key) => {
    forget(remembered)
    if (!(await isLarge(key))) return count(db, key)
    const known = remembered.get(key)
    if (known && ageOf(known) < freshMs) return known
    const counting = underWay.get(key) ?? outside(() => recount(key))
    if (!underWay.has(key)) underWay.set(key, counting)
    return waitFor(counting, known)
  }
}

async function waitFor<Counts>(counting: Promise<Counts>, known: Counts | undefined): Promise<Counts> {
  const inTime = new AbortController()
  const timeUp = sleep(known ? patienceMs.forNewer : patienceMs.forFirst, undefined, {
    signal: inTime.signal,
  })
  const counted = counting.catch((error) => {
    if (!known) throw error
  })
  counted.catch(() => {}) // nobody may be waiting any more
  const counts = await Promise.race([counted, timeUp.catch(() => undefined)]).finally(() => inTime.abort())
  if (counts ?? known) return (counts ?? known) as Counts
  throw problem('busy', { detail: 'This is being counted for the first time.', retryAfterSeconds: 10 })
}

function forget(remembered: Map<string, { as_of: Date }>): void {
  for (const [key, counts] of remembered) if (ageOf(counts) > forgottenMs) remembered.delete(key)
}

function ageOf({ as_of }: { as_of: Date }): number {
  return Date.now() - as_of.getTime()
}
