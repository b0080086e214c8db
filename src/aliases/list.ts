import { type CompiledQuery, type RawBuilder, sql } from 'kysely'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { Subject } from '../subject.ts'
import { type AliasRow, aliasColumns } from './store.ts'

export interface AliasFilter {
  /** What the caller may see. */
  visible: Subject['domains']
  /** Those to look in; '*' = every domain. */
  domains: '*' | readonly DomainName[]
  target?: string | undefined
  prefix?: string | undefined
  /** An address. */
  after?: string | undefined
  /** Without it: all of them. */
  limit?: number
}

/** One row more than `limit`, where there is one, in the order of the names and then of the domains. */
export async function listAliases(db: Db, filter: AliasFilter): Promise<AliasRow[]> {
  const { rows } = await aliases(filter).execute(db)
  return rows
}

export function compileAliases(db: Db, filter: AliasFilter): CompiledQuery {
  return aliases(filter).compile(db)
}

function aliases(filter: AliasFilter): RawBuilder<AliasRow> {
  return sql<AliasRow>`
    select ${aliasColumns(filter.visible)}
    from (${candidates(filter)}) as a join app.addresses as x on x.name = a.name and x.domain = a.domain
    order by a.name, a.domain ${upTo(filter)}`
}

/** One more tells whether there is a next page. */
function upTo({ limit }: AliasFilter): RawBuilder<unknown> {
  return limit === undefined ? sql`` : sql`limit ${limit + 1}`
}

/** Aliases out of which the page is taken; each way reads only rows that it may return. */
function candidates(filter: AliasFilter): RawBuilder<unknown> {
  const { domains, target, limit } = filter
  const page = limit === undefined ? sql`` : sql`order by a.name, a.domain ${upTo(filter)}`
  const source = target === undefined ? sql`app.aliases` : having(target)
  const rows = sql`select a.* from ${source} as a join app.domains as d on d.name = a.domain and d.state = 'active'`
  if (target !== undefined) return sql`${rows} where ${own(domains)} and ${conditions(filter)} ${page}`
  if (domains === '*') return sql`${rows} where ${conditions(filter)} ${page}`
  return sql`select a.* from unnest(${domains}::text[]) as own (domain) cross join lateral (
      ${rows} where a.domain = own.domain and ${conditions(filter)} ${page}
    ) as a`
}

/**
 * By the index of the targets, whatever the planner expects: how many aliases an address has is nothing that statistics
 * know, and where it thinks of many, it reads all aliases in the order of the list until there are enough. Hence offset 0.
 */
function having(target: string): RawBuilder<unknown> {
  return sql`(select a.* from app.aliases as a where a.targets @> array[${target}::text] offset 0)`
}

function own(domains: AliasFilter['domains']): RawBuilder<unknown> {
  return domains === '*' ? sql`true` : sql`a.domain = any (${domains}::text[])`
}

function conditions({ prefix, after }: AliasFilter): RawBuilder<unknown> {
  const [, name = '', domain = ''] = /^(.*)@(.*)$/.exec(after ?? '') ?? []
  return sql.join(
    [
      sql`true`,
      ...(prefix === undefined ? [] : [sql`a.name >= ${prefix} and starts_with(a.name, ${prefix})`]),
      ...(after === undefined ? [] : [sql`(a.name, a.domain) > (${name}, ${domain})`]),
    ],
    sql` and `,
  )
}
