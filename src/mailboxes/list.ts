import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { type MailboxRow, viewColumns, viewJoins } from './view.ts'

export interface MailboxFilter {
  /** '*' = every domain. */
  domains: '*' | readonly DomainName[]
  state: 'active' | 'deleted'
  prefix?: string | undefined
  name?: string | undefined
  external_id?: string | undefined
  locked?: boolean | undefined
  hold?: boolean | undefined
  updatedSince?: Date | undefined
  after?: string | undefined
  limit: number
}

/** One row more than `limit`, where there is one, in the order of the names. */
export async function listMailboxes(db: Db, filter: MailboxFilter): Promise<MailboxRow[]> {
  const { rows } = await sql<MailboxRow>`
    select ${viewColumns} from (${candidates(filter)}) as m ${viewJoins}
    order by m.name limit ${filter.limit + 1}`.execute(db)
  return rows
}

/** Mailboxes out of which the page is taken; each way reads only rows that it may return. */
function candidates(filter: MailboxFilter): RawBuilder<unknown> {
  const { domains, external_id, limit } = filter
  const matching = conditions(filter)
  const own = domains === '*' ? sql`true` : sql`m.domain = any(${domains}::text[])`
  if (external_id !== undefined) {
    return sql`select m.* from app.accounts as e join app.mailboxes as m on m.name = e.name
      where e.external_id = ${external_id} and ${own} and ${matching}`
  }
  if (domains === '*' || filter.name !== undefined) {
    return sql`select m.* from app.mailboxes as m where ${own} and ${matching} order by m.name limit ${limit + 1}`
  }
  return sql`select m.* from unnest(${domains}::text[]) as own (domain) cross join lateral (
      select m.* from app.mailboxes as m where m.domain = own.domain and ${matching}
      order by m.name limit ${limit + 1}
    ) as m`
}

function conditions({
  state,
  prefix,
  name,
  locked,
  hold,
  updatedSince,
  after,
}: MailboxFilter): RawBuilder<unknown> {
  return sql.join(
    [
      // in words and not as a parameter, so that the partial indexes of each state fit
      state === 'active' ? sql`m.state = 'active'` : sql`m.state = 'deleted'`,
      ...(prefix === undefined ? [] : [sql`m.name >= ${prefix} and starts_with(m.name, ${prefix})`]),
      ...(name === undefined ? [] : [sql`m.name = ${name}`]),
      ...(locked === undefined ? [] : [locked ? sql`m.locked` : sql`not m.locked`]),
      ...(hold === undefined ? [] : [hold ? sql`m.hold` : sql`not m.hold`]),
      ...(updatedSince === undefined ? [] : [sql`m.updated_at >= ${updatedSince}::timestamptz`]),
      ...(after === undefined ? [] : [sql`m.name > ${after}`]),
    ],
    sql` and `,
  )
}
