import type { CompiledQuery } from 'kysely'
import { type Db, poolOf } from '../database.ts'
import { problem } from '../problems.ts'
import { ownerOf } from '../rate-limits/refusal.ts'
import type { Subject } from '../subject.ts'
import { openSnapshot, type Snapshot } from './snapshot.ts'

/** Each has a connection beside the pool, so that the requests of others never wait for one. */
const limits = { ofAll: 4, ofCaller: 2 }
const retryAfterSeconds = 10
const graceMs = 20_000 // for those that run when the service is told to stop

export interface Exports {
  /** Throws 429 and 503 where too many run already. The snapshot has to be closed, whatever becomes of it. */
  open<Row extends object>(subject: Subject, query: CompiledQuery): Promise<Snapshot<Row>>
  /** Breaks off what does not end soon. */
  stop(): void
}

/** The lists that are given out whole at the moment, on this replica. */
export function createExports(db: Db): Exports {
  const owners: string[] = []
  const running = new Set<Snapshot<object>>()
  return {
    async open<Row extends object>(subject: Subject, query: CompiledQuery) {
      const leave = enter(owners, ownerOf(subject))
      const snapshot = await openSnapshot<Row>(poolOf(db).options, query).catch((error) => {
        leave()
        throw error
      })
      const counted: Snapshot<Row> = {
        ...snapshot,
        async close() {
          if (!running.delete(counted)) return
          await snapshot.close()
          leave()
        },
      }
      running.add(counted)
      return counted
    },
    stop() {
      const breakOff = () => {
        for (const snapshot of running) snapshot.fail(new Error('the service stops'))
      }
      setTimeout(breakOff, graceMs).unref()
    },
  }
}

function enter(owners: string[], owner: string): () => void {
  if (owners.filter((other) => other === owner).length >= limits.ofCaller) {
    const detail = `At most ${limits.ofCaller} whole lists at once are given out to a caller. Try again when one has ended.`
    throw problem('too-many-requests', { detail, retryAfterSeconds })
  }
  if (owners.length >= limits.ofAll) {
    const detail = 'Too many whole lists are given out at the moment.'
    throw problem('busy', { detail, retryAfterSeconds })
  }
  owners.push(owner)
  return () => void owners.splice(owners.indexOf(owner), 1)
}
