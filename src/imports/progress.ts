import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { ProblemError } from '../problems.ts'
import type { ImportRecord } from './lease.ts'
import type { Outcome } from './outcomes.ts'
import { toRowProblem } from './row-problem.ts'

/** The record as it is once the rows up to this line are done; an import that has no rows left has ended. */
export async function advance(
  db: Db,
  record: ImportRecord,
  line: number,
  outcomes: readonly Outcome[],
): Promise<ImportRecord> {
  const counts = { ...record.counts }
  for (const { status } of outcomes) counts[status] = (counts[status] ?? 0) + 1
  await sql`
    update app.imports set done_line = ${line}, counts = ${JSON.stringify(counts)}::jsonb
    where id = ${record.id}`.execute(db)
  return { ...record, counts, done_line: line }
}

export async function finish(
  db: Db,
  { id }: Pick<ImportRecord, 'id'>,
  state: 'completed' | 'failed',
  problem?: ProblemError,
): Promise<void> {
  const why = problem ? JSON.stringify(withoutParts(toRowProblem(problem))) : null
  await sql`
    update app.imports
    set state = ${state}, finished_at = clock_timestamp(), problem = ${why}::jsonb, worker = null, leased_until = null,
      cleared = ${state} = 'completed' and not dry_run
    where id = ${id} and state = 'running'`.execute(db)
}

function withoutParts({ type, title, status, detail }: ReturnType<typeof toRowProblem>) {
  return { type, title, status, detail }
}
