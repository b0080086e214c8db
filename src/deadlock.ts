const deadlockDetected = '40P01'
const attempts = 3

/**
 * Of transactions that wait for each other Postgres ends one, which has then done nothing: it is done again. The order in
 * which locks are taken is what keeps that from happening; this is for the rare one that nobody has thought of.
 */
export async function againAfterDeadlock<T>(write: () => Promise<T>): Promise<T> {
  for (let left = attempts - 1; ; left--) {
    try {
      return await write()
    } catch (error) {
      if (left === 0 || (error as { code?: unknown }).code !== deadlockDetected) throw error
    }
  }
}
