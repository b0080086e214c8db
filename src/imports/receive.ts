import type { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { InstallationKeys } from '../keys.ts'
import { payerOf } from '../rate-limits/refusal.ts'
import type { Subject } from '../subject.ts'
import { namesIn } from './names.ts'
import { type Format, readFile } from './read-file.ts'
import { toRowProblem } from './row-problem.ts'
import type { ImportCreateQuery } from './schemas.ts'
import { sealSecrets } from './seal.ts'
import { type ReadRow, type RefusedRow, readRow } from './sent-rows.ts'

export interface Received {
  id: string
  digest: Buffer
}

interface Receiving {
  db: Db
  keys: InstallationKeys
}

const batchRows = 400 // of up to 64 KiB each

/**
 * Puts the rows down as they come in, batch by batch, each by itself: the file may be large and its sender slow. The next
 * batch is read while one is put down. Nobody sees them until the import is queued; those of one that breaks off are
 * removed.
 */
export async function receive(
  { db, keys }: Receiving,
  request: FastifyRequest<{ Querystring: ImportCreateQuery }>,
  format: Format,
): Promise<Received> {
  const id = await insertImport(db, request)
  const { dry_run: dryRun } = request.query
  let putDown: Promise<void> = Promise.resolve()
  const put = async (batch: (ReadRow | RefusedRow)[]) => {
    await putDown
    putDown = insertRows(db, { id, dryRun, keys }, batch)
    putDown.catch((error) => (request.body as Readable).destroy(error)) // its sender may be slow
  }
  try {
    let digest: Buffer = Buffer.alloc(0)
    let batch: (ReadRow | RefusedRow)[] = []
    for await (const row of readFile(request.body as Readable, format, (octets) => (digest = octets))) {
      batch.push(readRow(row))
      if (batch.length < batchRows) continue
      await put(batch)
      batch = []
    }
    await put(batch)
    await putDown
    return { id, digest }
  } catch (error) {
    await putDown.catch(() => {}) // so that nothing comes after it is gone
    await discard(db, id)
    throw error
  }
}

/** With its rows. One that was accepted stays, even where the answer to its commit was lost. */
export async function discard(db: Db, id: string): Promise<void> {
  await db.deleteFrom('imports').where('id', '=', id).where('state', '=', 'receiving').execute()
}

async function insertImport(
  db: Db,
  { subject, query, ip, id: request_id }: FastifyRequest<{ Querystring: ImportCreateQuery }>,
): Promise<string> {
  const { id } = await db
    .insertInto('imports')
    .values({ ...query, ...rightsOf(subject), address: ip, request_id, counts: '{}' })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

/** What the rows may do is what the sender may do. */
function rightsOf(subject: Subject) {
  const payer = payerOf(subject)
  return {
    subject: subject.id,
    issuer: subject.issuer,
    token_id: subject.tokenId ?? null,
    payer_issuer: payer.issuer,
    payer_id: payer.id,
    stored_token: subject.token?.id ?? null,
    scopes: [...subject.scopes],
    domains: subject.domains === '*' ? ['*'] : [...subject.domains],
    password_delivery: subject.passwordDelivery ?? null,
  }
}

async function insertRows(
  db: Db,
  { id, dryRun, keys }: { id: string; dryRun: boolean; keys: InstallationKeys },
  rows: (ReadRow | RefusedRow)[],
): Promise<void> {
  if (rows.length === 0) return
  const staged = rows.map((row) => ('problem' in row ? refusedColumns(row) : readColumns(row, dryRun, keys)))
  await sql`
    with r as (
      insert into app.import_rows (import, line, operation, address, content, sealed, names, status, problem)
      select ${id}::uuid, r.line, r.operation, r.address, r.content, r.sealed, string_to_array(r.names, ' '), r.status, r.problem
      from json_to_recordset(${JSON.stringify(staged)}::json) as r (
        line integer, operation text, address text, content text, sealed text, names text, status text, problem jsonb
      )
    )
    update app.imports set rows = rows + ${rows.length}::integer, last_line = ${rows.at(-1)!.line}
    where id = ${id}`.execute(db)
}

function refusedColumns({ line, problem }: RefusedRow) {
  return { line, operation: '', address: '', status: 'failed', problem: toRowProblem(problem) }
}

function readColumns(row: ReadRow, dryRun: boolean, keys: InstallationKeys) {
  const { line, operation, address, content, secrets } = row
  const sealed = secrets && sealSecrets(secrets, keys.sealingKeys)
  const names = dryRun ? namesIn(row).join(' ') : undefined
  return { line, operation, address, content: JSON.stringify(content), sealed, names }
}
