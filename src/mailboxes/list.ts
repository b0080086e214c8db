import { type CompiledQuery, type RawBuilder, sql } from 'kysely'
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
  /** Without it: all of them. */
  limit?: number
}

/** One row more than `limit`, where there is one, in the order of the names. */
export async function listMailboxes(db: Db, filter: MailboxFilter): Promise<MailboxRow[]> {
  const { rows } = await mailboxes(filter).execute(db)
  return rows
}

export function compileMailboxes(db: Db, filter: MailboxFilter): CompiledQuery {
  return mailboxes(filter).compile(db)
}

function mailboxes(filter: MailboxFilter): RawBuilder<MailboxRow> {
  return sql<MailboxRow>`
    select ${viewColumns} from (${candidates(filter)}) as m ${viewJoins}
    order by m.name ${upTo(filter)}`
}

/** Mailboxes out of which the page is taken; each way reads only rows that it may return. */
function candidates(filter: MailboxFilter): RawBuilder<unknown> {
  const { domains, external_id } = filter
  const matching = conditions(filter)
  const page = filter.limit === undefined ? sql`` : sql`order by m.name ${upTo(filter)}`
  const own = domains === '*' ? sql`true` : sql`m.domain = any(${domains}::text[])`
  if (external_id !== undefined) {
    return sql`select m.* from app.accounts as e join app.mailboxes as m on m.name = e.name
      where e.external_id = ${external_id} and ${own} and ${matching}`
  }
  if (domains === '*' || filter.name !== undefined) {
    return sql`select m.* from app.mailboxes as m where ${own} and ${matching} ${page}`
  }
  return sql`select m.* from unnest(${domains}::text[]) as own (domain) cross join lateral (
      select m.* from app.mailboxes as m where m.domain = own.domain and ${matching}
      ${page}
    ) as m`
}

/** One more tells whether there is a next page. */
function upTo({ limit }: MailboxFilter): RawBuilder<unknown> {
  return limit === undefined ? sql`` : sql`limit ${limit + 1}`
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
