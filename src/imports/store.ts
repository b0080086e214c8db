import { type Expression, type Selectable, type SqlBool, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Database, Db, Tx } from '../database.ts'
import { runImportsJob } from '../jobs/queue.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { ImportRow } from './row-schemas.ts'
import type { Import } from './schemas.ts'

/** As a client sees it. */
const columns = [
  'id',
  'state',
  'dry_run',
  'on_error',
  'rows',
  'counts',
  'problem',
  'created_at',
  'started_at',
  'finished_at',
] as const

export interface ImportView extends Pick<Selectable<Database['imports']>, (typeof columns)[number]> {
  seconds: number | null
}

const seconds = sql<number | null>`extract(epoch from coalesce(finished_at, now()) - started_at)::float8`

/**
 * To a limited caller an import exists whose domains are all its own, if any. One of before a domain of that name was made
 * is of whoever had the name then.
 */
function isVisible(visible: Subject['domains']): Expression<SqlBool> {
  if (visible === '*') return sql<boolean>`true`
  return sql<boolean>`cardinality(domains) > 0 and domains <@ ${visible}::text[] and not exists (
    select from unnest(domains) as own (name) left join app.domains as d on d.name = own.name
    where d.created_at is null or d.created_at > imports.created_at
  )`
}

function visibleImports(db: Db, visible: Subject['domains']) {
  return db
    .selectFrom('imports')
    .select([...columns, seconds.as('seconds')])
    .where('state', '<>', 'receiving')
    .where(isVisible(visible))
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What cannot be an id is no import either. */
export function parseImportId(text: string): string {
  if (uuid.test(text)) return text
  throw problem('import-not-found')
}

export function getImport(db: Db, id: string, visible: Subject['domains']): Promise<ImportView> {
  return visibleImports(db, visible)
    .where('id', '=', id)
    .executeTakeFirstOrThrow(() => problem('import-not-found'))
}

export interface ImportFilter {
  visible: Subject['domains']
  after: { createdAt: Date; id: string } | undefined
  limit: number
}

/** One row more than `limit`, where there is one; the newest first. */
export function listImports(db: Db, { visible, after, limit }: ImportFilter): Promise<ImportView[]> {
  const query = visibleImports(db, visible)
  const rest = after
    ? query.where(
        sql<boolean>`(date_trunc('milliseconds', created_at), id) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
      )
    : query
  return rest
    .orderBy(sql`date_trunc('milliseconds', created_at)`, 'desc')
    .orderBy('id', 'desc')
    .limit(limit + 1)
    .execute()
}

const noCounts = { created: 0, updated: 0, unchanged: 0, deleted: 0, restored: 0, renamed: 0, failed: 0 }

export function toImport({ seconds, ...row }: ImportView): Import {
  const counts = { ...noCounts, ...row.counts }
  const done = Object.values(counts).reduce((sum, count) => sum + count, 0)
  const rate = seconds === null || done === 0 ? null : done / Math.max(seconds, 0.001)
  const isOpen = row.state === 'queued' || row.state === 'running'
  return {
    ...row,
    state: row.state as Import['state'],
    problem: row.problem as Import['problem'],
    rows_done: done,
    counts,
    rows_per_second: rate === null ? null : Math.round(rate * 10) / 10,
    seconds_left: rate === null || !isOpen ? null : Math.ceil((row.rows - done) / rate),
  }
}

/** From now on it is there, and its rows are worked off. */
export async function queueImport(tx: Tx, id: string): Promise<ImportView> {
  const queued = await tx
    .updateTable('imports')
    .set({ state: 'queued' })
    .where('id', '=', id)
    .returning([...columns, 'domains', seconds.as('seconds')])
    .executeTakeFirstOrThrow()
  const { domains, ...view } = queued
  await recordImport(tx, 'import.create', { id, domains, rows: view.rows, dry_run: view.dry_run })
  await sql`select ${runImportsJob()}`.execute(tx)
  return view
}

/** Rows that are not done yet never will be. Doing it again changes nothing. */
export async function cancelImport(tx: Tx, id: string, visible: Subject['domains']): Promise<void> {
  const { state, domains } = await tx
    .selectFrom('imports')
    .select(['state', 'domains'])
    .where('id', '=', id)
    .where('state', '<>', 'receiving')
    .where(isVisible(visible))
    .forUpdate()
    .executeTakeFirstOrThrow(() => problem('import-not-found'))
  if (state !== 'queued' && state !== 'running') return
  await tx
    .updateTable('imports')
    .set({ state: 'cancelled', finished_at: sql`now()`, cleared: false, worker: null, leased_until: null })
    .where('id', '=', id)
    .execute()
  await recordImport(tx, 'import.cancel', { id, domains })
  await sql`select ${runImportsJob()}`.execute(tx)
}

async function recordImport(
  tx: Tx,
  action: 'import.create' | 'import.cancel',
  { id, domains, ...after }: { id: string; domains: string[]; rows?: number; dry_run?: boolean },
): Promise<void> {
  const [first, ...others] = domains
  const domain = first === undefined || first === '*' || others.length > 0 ? null : first
  const members = action === 'import.cancel' ? { state: 'cancelled' } : after
  await sql`${insertEvents({
    action,
    object: sql`${id}::text`,
    domain: sql`${domain}::text`,
    after: sql`${JSON.stringify(members)}::jsonb`,
    from: sql`(select) as once`,
  })}`.execute(tx)
}

export interface RowFilter {
  status?: ImportRow['status'] | undefined
  after: number
  limit: number
}

/** Of an import that the caller may see: one row more than `limit`, where there is one. */
export async function listRows(db: Db, of: ImportView, filter: RowFilter): Promise<ImportRow[]> {
  const query = db
    .selectFrom('import_rows')
    .select(['line', 'operation', 'address', 'status', 'clear_text', 'secure_password', 'problem'])
    .where('import', '=', of.id)
    .where('line', '>', filter.after)
  const rows = await (filter.status === undefined
    ? query
    : query.where('status', '=', filter.status as 'failed')
  )
    .orderBy('line')
    .limit(filter.limit + 1)
    .execute()
  const undone = of.state === 'queued' || of.state === 'running' ? 'pending' : 'skipped'
  return rows.map((row) => ({
    line: row.line,
    operation: (row.operation || null) as ImportRow['operation'],
    address: row.address || null,
    status: row.status ?? undone,
    clear_text_username: row.clear_text,
    secure_password_username: row.secure_password,
    problem: row.problem as ImportRow['problem'],
  }))
}

/** Those whose end is long ago, and what never came in to its end. */
export async function sweepImports(query: (text: string) => Promise<unknown>): Promise<void> {
  await query(`delete from app.imports where finished_at < now() - interval '30 days'
    or state = 'receiving' and created_at < now() - interval '1 day'`)
}
