/** One at a time, in the order of arrival. */
export interface Turns {
  /** Returns what ends the turn. */
  wait(): Promise<() => void>
  take<T>(work: () => Promise<T>): Promise<T>
}

export function createTurns(): Turns {
  let last: Promise<void> = Promise.resolve()
  const wait = async () => {
    const before = last
    const { promise, resolve } = Promise.withResolvers<void>()
    last = promise
    await before
    return resolve
  }
  return {
    wait,
    async take(work) {
      const end = await wait()
      try {
        return await work()
      } finally {
        end()
      }
    },
  }
}
