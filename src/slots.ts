import { problem } from './problems.ts'

export interface Slots {
  /** Of this replica, and of one caller. */
  ofAll: number
  ofCaller: number
  /** What there are so many of, for the refusals. */
  what: string
}

const retryAfterSeconds = 10

/** For long work at the request of callers: throws 429 and 503 where too much of it runs already, else takes a slot. */
export function createSlots({ ofAll, ofCaller, what }: Slots): (owner: string) => () => void {
  const owners: string[] = []
  return (owner) => {
    if (owners.filter((other) => other === owner).length >= ofCaller) {
      const detail = `At most ${ofCaller} ${what} of a caller run at once. Try again when one has ended.`
      throw problem('too-many-requests', { detail, retryAfterSeconds })
    }
    if (owners.length >= ofAll) {
      throw problem('busy', { detail: `Too many ${what} run at the moment.`, retryAfterSeconds })
    }
    owners.push(owner)
    return () => void owners.splice(owners.indexOf(owner), 1)
  }
}
