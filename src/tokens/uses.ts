import { sql } from 'kysely'
import type { Db } from '../database.ts'

/** Notes when tokens were last used, in one statement a minute instead of one a request. */
export interface Uses {
  note(id: string): void
  /** Writes what is not written yet. */
  close(): Promise<void>
}

const everyMs = 60_000

export function recordUses(db: Db, onError: (error: Error) => void, period = everyMs): Uses {
  let used = new Map<string, Date>()

  async function flush(): Promise<void> {
    if (used.size === 0) return
    const batch = used
    used = new Map()
    await writeUses(db, batch).catch((error: Error) => {
      used = new Map([...batch, ...used])
      onError(error)
    })
  }

  const timer = setInterval(flush, period).unref()
  return {
    note(id) {
      used.set(id, new Date())
    },
    async close() {
      clearInterval(timer)
      await flush()
    },
  }
}

/** In one order, so that replicas do not wait for each other in a circle. */
async function writeUses(db: Db, uses: ReadonlyMap<string, Date>): Promise<void> {
  await sql`
    with used as (
      select * from unnest(${[...uses.keys()]}::uuid[], ${[...uses.values()]}::timestamptz[]) as u (id, at)
    ), locked as (
      select t.id, used.at from app.tokens as t join used using (id) order by t.id for no key update of t
    )
    update app.tokens as t set last_used_at = greatest(t.last_used_at, locked.at)
    from locked where t.id = locked.id`.execute(db)
}
