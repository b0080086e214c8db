/** What was looked up, for as long as every change of it would be heard of. */
export interface Memory<T> {
  /** The remembered value where `isCurrent`, else that of `ask`. */
  get(key: string, isCurrent: boolean, ask: () => Promise<T>): Promise<T>
  forget(): void
}

/**
 * Keeps the `capacity` values that were used last, and some that were used before, at most as many again: so what is asked
 * for again and again need not be put in its place each time.
 */
export function createMemory<T extends object>(capacity: number): Memory<T> {
  let young = new Map<string, T>()
  let old = new Map<string, T>()
  let changes = 0

  function keep(key: string, value: T): T {
    if (young.size >= capacity) {
      old = young
      young = new Map()
    }
    young.set(key, value)
    return value
  }

  function find(key: string): T | undefined {
    const value = young.get(key)
    if (value) return value
    const former = old.get(key)
    return former && keep(key, former)
  }

  return {
    async get(key, isCurrent, ask) {
      const known = isCurrent ? find(key) : undefined
      if (known) return known
      const before = changes
      const value = await ask()
      // What was heard while it was asked may be about the very thing: the answer is good once, not to be kept.
      return isCurrent && changes === before ? keep(key, value) : value
    },
    forget() {
      changes += 1
      young = new Map()
      old = new Map()
    },
  }
}
