import { type RawBuilder, sql } from 'kysely'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { Action } from './actions.ts'
import type { AuditEvent } from './schemas.ts'

/** An event's place in the order of time. */
export interface Place {
  at: string
  id: string
}

export interface AuditFilter {
  /** '*' = every domain, and what lies in none. */
  domains: '*' | readonly DomainName[]
  object?: string | undefined
  subject?: string | undefined
  action?: Action | undefined
  since?: Date | undefined
  until?: Date | undefined
  /** Only what is older. */
  before?: Place | undefined
  limit: number
}

/** The columns of AuditEvent, over the source e. */
export const eventColumns = sql`
  e.id, to_char(e.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, e.action, e.kind, e.object, e.domain,
  e.level, e.subject, e.issuer, e.token_id, e.address, e.request_id, e.before, e.after`

/** One row more than `limit`, where there is one, the newest first. */
export async function listEvents(db: Db, filter: AuditFilter): Promise<AuditEvent[]> {
  const { rows } = await sql<AuditEvent>`
    select ${eventColumns} from (${candidates(filter)}) as e
    order by e.at desc, e.id desc limit ${filter.limit + 1}`.execute(db)
  return filter.domains === '*' ? rows : rows.map((event) => withoutForeign(event, filter.domains))
}

/** The domain that one stands for is shown to those only who may see it, here as in the domain itself. */
function withoutForeign(event: AuditEvent, domains: AuditFilter['domains']): AuditEvent {
  const mask = (members: object | null) => {
    if (!members || !('alias_of' in members)) return members
    return {
      ...members,
      alias_of: domains.includes(members.alias_of as DomainName) ? members.alias_of : null,
    }
  }
  return { ...event, before: mask(event.before), after: mask(event.after) }
}

/** Events out of which the page is taken: with domains, the first of each by its index, so that no others are read. */
function candidates(filter: AuditFilter): RawBuilder<unknown> {
  const { domains, limit } = filter
  const page = sql`${conditions(filter)} order by e.at desc, e.id desc limit ${limit + 1}`
  if (domains === '*') return sql`select e.* from app.audit_events as e where ${page}`
  // a domain that was purged and made anew may have another holder, and one that is not there is nobody's
  return sql`select e.* from app.domains as d cross join lateral (
      select e.* from app.audit_events as e
      where e.domain = d.name and e.at >= d.created_at and ${page}
    ) as e
    where d.name = any(${domains}::text[])`
}

function conditions({ object, subject, action, since, until, before }: AuditFilter): RawBuilder<unknown> {
  return sql.join(
    [
      sql`true`,
      ...(object === undefined ? [] : [isObject(object)]),
      ...(subject === undefined ? [] : [sql`e.subject = ${subject}`]),
      ...(action === undefined ? [] : [sql`e.action = ${action}`]),
      ...(since === undefined ? [] : [sql`e.at >= ${since}::timestamptz`]),
      ...(until === undefined ? [] : [sql`e.at < ${until}::timestamptz`]),
      ...(before === undefined ? [] : [sql`(e.at, e.id) < (${before.at}::timestamptz, ${before.id}::uuid)`]),
    ],
    sql` and `,
  )
}

/** With the name that it has in the key: that of a mailbox, alias or account, or none. */
function isObject(object: string): RawBuilder<unknown> {
  const name = object.split('@')[0]
  return sql`((e.name = ${name} and e.object = ${object}) or (e.name = '' and e.object = ${object}))`
}
