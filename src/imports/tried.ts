import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { ImportRecord } from './lease.ts'
import type { ImportContext } from './make-many.ts'
import type { Outcome } from './outcomes.ts'

/** How many mailboxes the rows of a dry run would have added to each domain. */
export function noteTried(tried: ImportContext['tried'], outcomes: readonly Outcome[]): void {
  for (const { status, address } of outcomes) {
    const change = status === 'created' || status === 'restored' ? 1 : status === 'deleted' ? -1 : 0
    const domain = address?.split('@')[1] as DomainName | undefined
    if (change !== 0 && domain) tried.set(domain, (tried.get(domain) ?? 0) + change)
  }
}

/** Of the rows that are done. */
export async function countTried(db: Db, { id, done_line }: ImportRecord): Promise<ImportContext['tried']> {
  const { rows } = await sql<{ domain: DomainName; added: number }>`
    select split_part(r.address, '@', 2) as domain, sum(case r.status when 'deleted' then -1 else 1 end)::integer as added
    from app.import_rows as r
    where r.import = ${id} and r.line <= ${done_line} and r.status in ('created', 'restored', 'deleted')
    group by 1`.execute(db)
  return new Map(rows.map(({ domain, added }) => [domain, added]))
}
