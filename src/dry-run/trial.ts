import { AsyncLocalStorage } from 'node:async_hooks'
import type { Session } from './session.ts'

/** Statements that run in one transaction, opened by the first of them; those of a trial are never committed. */
export interface Trial {
  session?: Promise<Session>
  kept?: true
}

const storage = new AsyncLocalStorage<Trial>()

/** The trial that this code runs in, however deep below `tryOut`. */
export function currentTrial(): Trial | undefined {
  const joint = currentJoint()
  return joint?.kept ? undefined : joint
}

/** A trial, or what `inOneTransaction` runs. */
export function currentJoint(): Trial | undefined {
  return storage.getStore()
}

/**
 * What `work` does through the database becomes true at once, or, where it throws, not at all; what of it throws and is
 * caught leaves nothing behind. For work that is made of operations that have transactions of their own.
 */
export async function inOneTransaction<T>(work: () => Promise<T>): Promise<T> {
  const joint: Trial = { kept: true }
  let done = false
  try {
    const result = await storage.run(joint, work)
    done = true
    await (await joint.session)?.commit()
    return result
  } finally {
    const session = await joint.session?.catch(() => undefined)
    if (!done) await session?.end()
  }
}

/** Whatever `work` does through the database is undone before this settles, however `work` ends. */
export async function tryOut<T>(work: () => Promise<T>): Promise<T> {
  const trial: Trial = {}
  try {
    return await storage.run(trial, work)
  } finally {
    const session = await trial.session?.catch(() => undefined) // `work` has been told already
    await session?.end()
  }
}
