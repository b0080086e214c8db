import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from '../database.ts'
import { readAsOf } from '../moments.ts'
import type { Logger } from '../service.ts'
import { eventColumns } from './list.ts'
import type { AuditLogFile } from './log-file.ts'
import type { AuditEvent } from './schemas.ts'

/**
 * Everything older than `floor` is in the file; of what is not older, these. A transaction that began before the floor
 * was set cannot commit an event that is older than it.
 */
export interface LogPosition {
  floor: string
  /** Their times by their ids. */
  written: Record<string, string>
}

export interface Follower {
  /** For a file that was moved away. */
  reopen(): void
  /** Once all that is committed is in the file. */
  stop(): Promise<void>
}

const everyMs = 1_000
const batch = 1_000

const beginning = '1970-01-01T00:00:00.000000Z'

interface State {
  floor: string
  /** With their times. */
  written: Map<string, string>
}

/**
 * Writes what is committed to the file, whoever wrote it, and nothing before. It goes by the table, so that a crash
 * between a commit and its line loses nothing: the next start goes on where the position is, and at the worst writes
 * once more what came just before the crash.
 */
export function followEvents(db: Db, file: AuditLogFile, log: Logger): Follower {
  const stopping = new AbortController()
  const state: State = {
    floor: file.position?.floor ?? beginning,
    written: new Map(Object.entries(file.position?.written ?? {})),
  }
  let reopen = false
  const attempt = async () => {
    try {
      if (reopen) await file.reopen()
      reopen = false
      await writeCommitted(db, file, state)
    } catch (error) {
      log.error({ reason: (error as Error).message }, 'audit events wait for AUDIT_LOG_FILE')
    }
  }
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await attempt()
      await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
    await attempt()
    await file.close()
  })()
  return {
    reopen: () => {
      reopen = true
    },
    stop: async () => {
      stopping.abort()
      await loop
    },
  }
}

async function writeCommitted(db: Db, file: AuditLogFile, state: State): Promise<void> {
  const asOf = (await readAsOf(db)).replace('Z', '000Z') // in microseconds, as events have their time
  for (;;) {
    const events = await nextEvents(db, state)
    if (events.length > 0) await file.append(events.map((event) => `${JSON.stringify(event)}\n`).join(''))
    for (const { id, at } of events) state.written.set(id, at)
    const full = events.length === batch
    raiseFloor(state, full && events.at(-1)!.at < asOf ? events.at(-1)!.at : asOf)
    if (events.length > 0)
      await file.keepPosition({ floor: state.floor, written: Object.fromEntries(state.written) })
    if (!full) return
  }
}

/** RFC 3339 in one form sorts as text. */
function raiseFloor(state: State, floor: string): void {
  if (floor > state.floor) state.floor = floor
  for (const [id, at] of state.written) if (at < state.floor) state.written.delete(id)
}

async function nextEvents(db: Db, { floor, written }: State): Promise<AuditEvent[]> {
  const { rows } = await sql<AuditEvent>`
    select ${eventColumns} from app.audit_events as e
    where e.at >= ${floor}::timestamptz and e.id <> all (${[...written.keys()]}::uuid[])
    order by e.at, e.id limit ${batch}`.execute(db)
  return rows
}
