import type { CompiledQuery } from 'kysely'
import { type Db, poolOf } from '../database.ts'
import { ownerOf } from '../rate-limits/refusal.ts'
import { createSlots } from '../slots.ts'
import type { Subject } from '../subject.ts'
import { openSnapshot, type Snapshot } from './snapshot.ts'

/** Each has a connection beside the pool, so that the requests of others never wait for one. */
const limits = { ofAll: 4, ofCaller: 2, what: 'whole lists' }
const graceMs = 20_000 // for those that run when the service is told to stop

export interface Exports {
  /** Throws 429 and 503 where too many run already. The snapshot has to be closed, whatever becomes of it. */
  open<Row extends object>(subject: Subject, query: CompiledQuery): Promise<Snapshot<Row>>
  /** Breaks off what does not end soon. */
  stop(): void
}

/** The lists that are given out whole at the moment, on this replica. */
export function createExports(db: Db): Exports {
  const enter = createSlots(limits)
  const running = new Set<Snapshot<object>>()
  return {
    async open<Row extends object>(subject: Subject, query: CompiledQuery) {
      const leave = enter(ownerOf(subject))
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
