import { setImmediate } from 'node:timers/promises'
import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { InstallationKeys } from '../keys.ts'
import { type ProblemError, problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { ImportRecord } from './lease.ts'
import { namesIn } from './names.ts'
import type { Outcome } from './outcomes.ts'
import { isProblem } from './outcomes.ts'
import { toRowProblem } from './row-problem.ts'
import type { Operation } from './schemas.ts'
import { openSecrets } from './seal.ts'
import type { ReadRow } from './sent-rows.ts'
import { readTask, type Task } from './tasks.ts'
import type { UnitRow } from './units.ts'

interface StoredRow {
  line: number
  operation: Operation
  address: string
  content: string | null
  sealed: string | null
  problem: { type: string; detail?: string } | null
}

interface Reading {
  db: Db
  keys: InstallationKeys
  subject: Subject
}

const rowsAtOnce = 1000
const rowsInOneTurn = 50 // of the event loop, so that whoever else waits for it waits half a millisecond

/** The rows after that line, none of which is done. */
export async function readPending(reading: Reading, id: string, line: number): Promise<UnitRow[]> {
  const { rows } = await sql<StoredRow>`
    select r.line, r.operation, r.address, r.content, r.sealed, r.problem from app.import_rows as r
    where r.import = ${id} and r.line > ${line} order by r.line limit ${rowsAtOnce}`.execute(reading.db)
  const read: UnitRow[] = []
  for (const row of rows) {
    read.push(toUnitRow(reading, row))
    if (read.length % rowsInOneTurn === 0) await setImmediate()
  }
  return read
}

/**
 * Rows done before, in a dry run, that changed something about one of the names, or about a name that such a row has
 * besides: they are to be tried first.
 */
export async function readEarlier(
  reading: Reading,
  of: ImportRecord,
  names: ReadonlySet<string>,
): Promise<UnitRow[]> {
  const { rows } = await sql<StoredRow>`
    select r.line, r.operation, r.address, r.content, r.sealed, null as problem from app.import_rows as r
    where r.import = ${of.id} and r.names && ${[...names]}::text[] and r.line <= ${of.done_line}
      and r.status not in ('failed', 'unchanged')
    order by r.line`.execute(reading.db)
  const earlier = rows.map((row) => toUnitRow(reading, row))
  const all = new Set([...names, ...earlier.flatMap(({ row }) => (row ? namesIn(row) : []))])
  return all.size > names.size ? readEarlier(reading, of, all) : earlier
}

function toUnitRow({ keys, subject }: Reading, stored: StoredRow): UnitRow {
  const { line, operation, address, content, sealed } = stored
  if (stored.problem) return { line, row: undefined, task: refusedBefore(stored.problem) }
  const secrets = sealed === null ? undefined : openSecrets(sealed, keys.sealingKeys)
  const row: ReadRow = { line, operation, address, content: JSON.parse(content ?? '{}'), secrets }
  if (sealed !== null && !secrets) return { line, row, task: problem('password-required', { detail: lost }) }
  return { line, row, task: read(subject, row) }
}

const lost =
  'The key file of the service is another one than when the rows were sent, so that nobody can read their passwords any more. Send the row again.'

/** It was judged when it came in; what it was refused with stays as it is. */
function refusedBefore({ type, ...members }: { type: string; detail?: string }): ProblemError {
  return problem(type.replace('/problems/', '') as 'invalid-request', members)
}

function read(subject: Subject, row: ReadRow): Task | ProblemError {
  try {
    return readTask(subject, row)
  } catch (error) {
    if (isProblem(error)) return error
    throw error
  }
}

/**
 * What became of the rows, in the transaction that did them; what was sent is gone from then on, but in a dry run. Each
 * row finds its outcome by its line: of a join the planner thinks by what it knows of earlier imports, which is nothing of
 * this one, and then compares all rows of the file with all of the unit.
 */
export async function writeOutcomes(
  db: Db,
  { id, dry_run, done_line }: ImportRecord,
  unit: readonly UnitRow[],
  outcomes: readonly Outcome[],
): Promise<void> {
  const byLine = unit.map(({ line }, i) => {
    const { problem: refusal, ...outcome } = outcomes[i]!
    return [line, { ...outcome, problem: refusal && toRowProblem(refusal) }]
  })
  const of = (member: keyof Outcome) => sql`o.outcome ->> ${member}::text`
  await sql`
    update app.import_rows as r
    set (status, clear_text, secure_password, problem, address) = (
        select ${of('status')}, ${of('clear_text')}, ${of('secure_password')}, (${of('problem')})::jsonb,
          case when ${dry_run} then r.address else coalesce(${of('address')}, r.address) end
        from (select u.outcomes -> r.line::text as outcome offset 0) as o
      ),
      content = case when ${dry_run} then r.content end, sealed = case when ${dry_run} then r.sealed end
    from (select ${JSON.stringify(Object.fromEntries(byLine))}::jsonb as outcomes offset 0) as u
    where r.import = ${id} and r.line > ${done_line} and r.line <= ${unit.at(-1)!.line}`.execute(db)
}

const linesAtOnce = 10_000

/** Of an import that has ended, step by step: what its rows still hold of what was sent. */
export async function clearRows(db: Db, id: string): Promise<void> {
  let from: number | null = 0
  while (from !== null) {
    const { rows }: { rows: { last: number | null }[] } = await sql<{ last: number | null }>`
      with l as (
        select max(of_step.line) as last from (
          select r.line from app.import_rows as r where r.import = ${id} and r.line > ${from}
          order by r.line limit ${linesAtOnce}
        ) as of_step
      ), cleared as (
        update app.import_rows as r set content = null, sealed = null, names = null
        where r.import = ${id} and r.line > ${from} and r.line <= (select l.last from l)
          and (r.content is not null or r.sealed is not null)
      )
      select l.last from l`.execute(db)
    from = rows[0]!.last
  }
  await sql`update app.imports set cleared = true where id = ${id}`.execute(db)
}
