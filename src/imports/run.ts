import { randomUUID } from 'node:crypto'
import type { Db } from '../database.ts'
import { inOneTransaction, tryOut } from '../dry-run/trial.ts'
import type { InstallationKeys } from '../keys.ts'
import { toProblem } from '../problem-details.ts'
import { type ProblemError, problem } from '../problems.ts'
import { actFor, currentActor } from '../request-context.ts'
import type { Logger } from '../service.ts'
import { blow } from '../tokens/blow.ts'
import { findToken } from '../tokens/store.ts'
import type { WorkQueue } from '../work-queue.ts'
import { applyTasks } from './apply.ts'
import { derivePasswords } from './derive.ts'
import {
  claimImport,
  holdImport,
  type ImportRecord,
  refusalOf,
  release,
  renew,
  renewMs,
  Superseded,
  subjectOf,
} from './lease.ts'
import type { ImportContext } from './make-many.ts'
import { chargeNames, namesLeft } from './name-budget.ts'
import { namesIn } from './names.ts'
import { failed, isProblem, type Outcome } from './outcomes.ts'
import { clearRows, readEarlier, readPending, writeOutcomes } from './pending.ts'
import { advance, finish } from './progress.ts'
import type { Task } from './tasks.ts'
import { countTried, noteTried } from './tried.ts'
import { takeUnit, type UnitRow } from './units.ts'

export interface ImportWork {
  db: Db
  derivations: WorkQueue
  keys: InstallationKeys
  log: Pick<Logger, 'warn' | 'error'>
  /** Of callers limited to some domains: the names a minute of which they may learn whether they are taken. */
  nameTaken?: number | undefined
}

const sliceMs = 5_000 // then others have their turn

/** Works on one import for a while; false where there is none to work on. */
export async function workOnImports(work: ImportWork, signal: AbortSignal): Promise<boolean> {
  const worker = randomUUID()
  const record = await claimImport(work.db, worker)
  if (!record) return false
  const renewing = setInterval(() => void renew(work.db, record.id, worker).catch(() => {}), renewMs)
  try {
    const pause = await workOn(work, record, signal)
    await release(work.db, record.id, worker, pause)
  } catch (error) {
    if (!(error instanceof Superseded)) {
      work.log.warn({ import: record.id, reason: (error as Error).message }, 'an import is tried again')
      await release(work.db, record.id, worker, 1)
    }
  } finally {
    clearInterval(renewing)
  }
  return true
}

/** Seconds that it has to wait. */
async function workOn(work: ImportWork, record: ImportRecord, signal: AbortSignal): Promise<number> {
  const { db } = work
  if (record.state !== 'queued' && record.state !== 'running') {
    await clearRows(db, record.id)
    return 0
  }
  const refusal = await refusalOf(db, record)
  if (refusal !== undefined) {
    await finish(db, record, 'failed', problem('unauthenticated', { detail: refusal }))
    return 0
  }
  const { subject: id, issuer, token_id, address, request_id } = record
  const { stored_token } = record
  const token = stored_token === null ? undefined : await findToken(db, stored_token)
  const actor = {
    subject: { id, issuer, tokenId: token_id ?? undefined, ...(token && { token }) },
    ip: address ?? '',
    id: request_id,
  }
  return actFor(actor, () => workThrough(work, record, signal))
}

async function workThrough(work: ImportWork, claimed: ImportRecord, signal: AbortSignal): Promise<number> {
  const { db, derivations, keys } = work
  const subject = subjectOf(claimed)
  const tried = claimed.dry_run ? await countTried(db, claimed) : new Map()
  const context: ImportContext = { app: { db, derivations }, subject, tried }
  const until = Date.now() + sliceMs
  let record = claimed
  let pending: UnitRow[] = []
  while (Date.now() < until && !signal.aborted) {
    if (pending.length === 0) pending = await readPending({ db, keys, subject }, record)
    if (pending.length === 0) {
      await finish(db, record, 'completed')
      return 0
    }
    const { names, seconds } = await namesLeft(work, record)
    if (names <= 0) return seconds
    const unit = takeUnit(pending, names)
    const done = await doUnit(work, context, record, unit)
    if (done.ended) return 0
    record = done.record
    pending = pending.slice(done.rows)
  }
  return 0
}

interface Done {
  record: ImportRecord
  rows: number
  ended: boolean
}

/** Where the rows cannot be done together, the first of them is done by itself. */
async function doUnit(
  work: ImportWork,
  context: ImportContext,
  record: ImportRecord,
  unit: UnitRow[],
): Promise<Done> {
  const ready = record.dry_run ? unit : await derivePasswords(context, unit)
  try {
    return await settle(work, context, record, ready)
  } catch (error) {
    if (error instanceof Superseded) throw error
    if (unit.length > 1) return doUnit(work, context, record, unit.slice(0, before(error, unit.length)))
    const fault = toProblem(error as Parameters<typeof toProblem>[0])
    if (fault.code === 'fuse-blown') return endByFuse(work, record, fault)
    if (fault.code !== 'internal-error') throw error
    work.log.error(
      { import: record.id, line: unit[0]!.line, reason: (error as Error).message },
      'a row failed',
    )
    return settle(work, context, record, [{ ...unit[0]!, task: fault }])
  }
}

/** No later row is tried: what has run wild is looked at by somebody first. */
async function endByFuse(work: ImportWork, record: ImportRecord, refusal: ProblemError): Promise<Done> {
  const { db, log } = work
  const { subject, overdraw } = currentActor()!
  if (!record.dry_run)
    for (const id of await blow(db, subject.token!, overdraw!))
      log.warn(
        { event: 'fuse-blown', import: record.id, token_id: id, fuse: overdraw!.fuse },
        'an import is ended',
      )
  await finish(db, record, 'failed', refusal)
  return { record, rows: 0, ended: true }
}

/** The rows before the one that is refused; else half of them, so that one that cannot be done is soon alone. */
function before(error: unknown, rows: number): number {
  return error instanceof Refused ? Math.max(1, error.row) : Math.ceil(rows / 2)
}

/** Where the first row that is refused is to end the import, none after it may be done. */
class Refused extends Error {
  row = 0
}

/** Does the rows, and writes down that they are done, in one transaction. */
async function settle(
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
    for (const one of earlier) await doRows({ ...context, tried: new Map() }, [one])
    return doRows(context, unit)
  })
}
