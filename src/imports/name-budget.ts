import type { Db } from '../database.ts'
import { freeNames } from '../rate-limits/name-taken.ts'
import { countNamesTaken, readNamesTaken } from '../rate-limits/store.ts'
import { type ImportRecord, payerOf } from './lease.ts'
import type { Outcome } from './outcomes.ts'

interface NameBudget {
  db: Db
  /** Of callers limited to some domains: the names a minute of which they may learn whether they are taken. */
  nameTaken?: number | undefined
}

/** Of how many names it may still learn in this minute. */
export async function namesLeft({ db, nameTaken }: NameBudget, record: ImportRecord) {
  if (nameTaken === undefined || record.domains[0] === '*')
    return { names: Number.POSITIVE_INFINITY, seconds: 0 }
  const { count, seconds } = await readNamesTaken(db, payerOf(record))
  return { names: nameTaken - count, seconds }
}

/** What rows tell of names counts as it does in single calls: a taken one, and in a dry run a free one too. */
export async function chargeNames(
  { db, nameTaken }: NameBudget,
  record: ImportRecord,
  outcomes: readonly Outcome[],
): Promise<void> {
  if (nameTaken === undefined || record.domains[0] === '*') return
  const told = outcomes.filter(({ status, problem }) =>
    problem
      ? tellsOfName.has(problem.code)
      : record.dry_run && (status === 'created' || status === 'renamed'),
  )
  if (told.length > 0) await countNamesTaken(db, payerOf(record), told.length)
}

const tellsOfName: ReadonlySet<string> = new Set(['name-taken', ...freeNames])
