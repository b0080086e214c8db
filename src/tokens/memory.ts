/** What was looked up, for as long as every change of it would be heard of. */
export interface Memory<T> {
  /** The remembered value where `isCurrent`, else that of `ask`. */
  get(key: string, isCurrent: boolean, ask: () => Promise<T>): Promise<T>
  forget(): void
}

/** Keeps the `capacity` values that were used last. */
export function createMemory<T extends object>(capacity: number): Memory<T> {
  const values = new Map<string, T>()
  let changes = 0

  function keep(key: string, value: T): T {
    values.delete(key)
    values.set(key, value)
    if (values.size > capacity) values.delete(values.keys().next().value!)
    return value
  }

  return {
    async get(key, isCurrent, ask) {
      const known = isCurrent ? values.get(key) : undefined
      if (known) return keep(key, known)
      const before = changes
      const value = await ask()
      // What was heard while it was asked may be about the very thing: the answer is good once, not to be kept.
      return isCurrent && changes === before ? keep(key, value) : value
    },
    forget() {
      changes += 1
      values.clear()
    },
  }
}
