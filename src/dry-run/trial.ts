import { AsyncLocalStorage } from 'node:async_hooks'
import type { Session } from './session.ts'

/** What is only tried: its statements run in one transaction, opened by the first of them and never committed. */
export interface Trial {
  session?: Promise<Session>
}

const storage = new AsyncLocalStorage<Trial>()

/** The trial that this code runs in, however deep below `tryOut`. */
export function currentTrial(): Trial | undefined {
  return storage.getStore()
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
