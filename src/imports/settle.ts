import type { Db } from '../database.ts'
import { inOneTransaction, tryOut } from '../dry-run/trial.ts'
import type { InstallationKeys } from '../keys.ts'
import { type ProblemError, problem } from '../problems.ts'
import type { Logger } from '../service.ts'
import type { WorkQueue } from '../work-queue.ts'
import { applyTasks } from './apply.ts'
import { derivePasswords } from './derive.ts'
import { holdImport, type ImportRecord } from './lease.ts'
import type { ImportContext } from './make-many.ts'
import { chargeNames } from './name-budget.ts'
import { namesIn } from './names.ts'
import { failed, isProblem, type Outcome } from './outcomes.ts'
import { readEarlier, writeOutcomes } from './pending.ts'
import { advance, finish } from './progress.ts'
import type { Task } from './tasks.ts'
import { noteTried } from './tried.ts'
import type { UnitRow } from './units.ts'

export interface ImportWork {
  db: Db
  derivations: WorkQueue
  keys: InstallationKeys
  log: Pick<Logger, 'warn' | 'error'>
  /** Of callers limited to some domains: the names a minute of which they may learn whether they are taken. */
  nameTaken?: number | undefined
}

export interface Done {
  record: ImportRecord
  rows: number
  ended: boolean
}

/** Where the first row that is refused is to end the import, none after it may be done. */
export class Refused extends Error {
  row = 0
}

/** Does the rows, and writes down that they are done, in one transaction. */
export async function settle(
  work: ImportWork,
  context: ImportContext,
  record: ImportRecord,
  all: UnitRow[],
): Promise<Done> {
  const { db } = work
  // what was refused before it was tried ends the unit where the first error stops all
  const refused = all.findIndex(({ task }) => isProblem(task))
  const unit = record.on_error === 'stop' && refused >= 0 ? all.slice(0, Math.max(1, refused)) : all
  const trial = record.dry_run ? await tryUnit(work, context, record, unit) : undefined
  return inOneTransaction(async () => {
    await holdImport(db, record)
    const outcomes = trial ?? (await doRows(context, unit))
    const stop = record.on_error === 'stop' ? outcomes.findIndex(({ status }) => status === 'failed') : -1
    if (stop >= 0 && unit.length > 1)
      throw Object.assign(new Refused('one of the rows is refused'), { row: stop })
    context.meanwhile() // where nothing was made
    await writeOutcomes(db, record, unit, outcomes)
    const next = await advance(db, record, unit.at(-1)!.line, outcomes)
    await chargeNames(work, record, outcomes)
    if (record.dry_run) noteTried(context.tried, outcomes)
    const ended = stop >= 0
    if (ended) await finish(db, record, 'failed', stopped(unit[0]!.line, outcomes[0]!.problem!))
    return { record: next, rows: unit.length, ended }
  })
}

function stopped(line: number, { code }: ProblemError): ProblemError {
  return problem(code, { detail: `The row on line ${line} is refused, and on_error is stop.` })
}

async function doRows(context: ImportContext, unit: readonly UnitRow[]): Promise<Outcome[]> {
  const tasks = unit.map(({ task }) => task)
  const applied = tasks.filter((task): task is Task => !isProblem(task))
  const outcomes = applied.length > 0 ? await applyTasks(context, applied) : []
  const done = new Map(applied.map((task, i) => [task, outcomes[i]!]))
  return tasks.map((task) => (isProblem(task) ? failed(task) : done.get(task)!))
}

/** Rows for each row: each of them is tried again, and ever more of them would take for ever. */
const earlierAtMost = 200

const tooMany = () =>
  problem('invalid-request', {
    detail: `More than ${earlierAtMost} earlier rows are about the same name, too many for a dry run. Without it the row is done.`,
  })

/** After what earlier rows of this import would have done to the same names. */
function tryUnit(
  { db, keys }: ImportWork,
  context: ImportContext,
  record: ImportRecord,
  unit: readonly UnitRow[],
): Promise<Outcome[]> {
  const names = new Set(unit.flatMap(({ row }) => (row ? namesIn(row) : [])))
  return tryOut(async () => {
    const earlier = await readEarlier({ db, keys, subject: context.subject }, record, names)
    if (earlier.length > earlierAtMost * unit.length) return unit.map(() => failed(tooMany()))
    for (const one of earlier) await doRows({ ...context, tried: new Map() }, [one])
    return doRows(context, await derivePasswords(context, unit)) // no password is hashed in a trial
  })
}
