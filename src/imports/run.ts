import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { toProblem } from '../problem-details.ts'
import { type ProblemError, problem } from '../problems.ts'
import { actFor, currentActor } from '../request-context.ts'
import { blow } from '../tokens/blow.ts'
import { findToken } from '../tokens/store.ts'
import { derivePasswords } from './derive.ts'
import {
  claimImport,
  type ImportRecord,
  refusalOf,
  release,
  renew,
  renewMs,
  Superseded,
  subjectOf,
} from './lease.ts'
import type { ImportContext } from './make-many.ts'
import { namesLeft } from './name-budget.ts'
import { clearRows, readPending } from './pending.ts'
import { finish } from './progress.ts'
import { type Done, type ImportWork, Refused, settle } from './settle.ts'
import { countTried } from './tried.ts'
import { takeUnit, type UnitRow } from './units.ts'

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
  const until = Date.now() + sliceMs
  const read = (line: number) => ahead(readPending({ db, keys, subject }, claimed.id, line))
  const outside = AsyncLocalStorage.snapshot() // of the transaction of a unit, whose connection is busy
  let record = claimed
  let pending: UnitRow[] = []
  let next: Promise<UnitRow[]> | undefined
  while (Date.now() < until && !signal.aborted) {
    if (pending.length === 0) {
      pending = await (next ?? read(record.done_line))
      next = undefined
    }
    if (pending.length === 0) {
      await finish(db, record, 'completed')
      return 0
    }
    const { names, seconds } = await namesLeft(work, record)
    if (names <= 0) return seconds
    const unit = takeUnit(pending, names)
    const meanwhile = () => {
      if (unit.length === pending.length) next ??= outside(() => read(unit.at(-1)!.line))
    }
    const done = await doUnit(work, { app: { db, derivations }, subject, tried, meanwhile }, record, unit)
    if (done.ended) return 0
    record = done.record
    pending = pending.slice(done.rows)
  }
  return 0
}

/** Nobody may come to await it. */
function ahead<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
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
    if (unit.length > 1) return doUnit(work, context, record, ready.slice(0, before(error, unit.length)))
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
