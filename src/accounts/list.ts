import { type CompiledQuery, type Expression, type SqlBool, sql } from 'kysely'
import type { Db } from '../database.ts'
import type { Subject } from '../subject.ts'
import type { AccountListQuery, PasswordScheme } from './schemas.ts'
import { type AccountRow, visibleAccounts } from './store.ts'

export interface AccountFilter extends Omit<AccountListQuery, 'cursor' | 'limit'> {
  after?: string | undefined
  /** Without it: all of them. */
  limit?: number
}

/** One row more than `limit`, where there is one. */
export function listAccounts(
  db: Db,
  visible: Subject['domains'],
  filter: AccountFilter,
): Promise<AccountRow[]> {
  return accounts(db, visible, filter).execute()
}

export function compileAccounts(db: Db, visible: Subject['domains'], filter: AccountFilter): CompiledQuery {
  return accounts(db, visible, filter).compile()
}

function accounts(db: Db, visible: Subject['domains'], filter: AccountFilter) {
  const { external_id, limit } = filter
  const scheme = filter.password_scheme === undefined ? [] : [hasScheme(filter.password_scheme)]
  const conditions: Expression<SqlBool>[] = [
    ...inRange('accounts', filter),
    ...(external_id === undefined
      ? []
      : [sql<SqlBool>`accounts.external_id = ${external_id.normalize('NFC')}`]),
    ...scheme,
  ]
  const all = visibleAccounts(db, visible).orderBy('accounts.name')
  if (limit === undefined) return all.where((eb) => eb.and(conditions))
  // the accounts of an external id are few, and found by it
  const own = visible === '*' || external_id !== undefined ? [] : [ownNames(visible, filter, scheme)]
  return all.where((eb) => eb.and([...conditions, ...own])).limit(limit + 1)
}

function inRange(table: 'accounts' | 'mailboxes', { prefix, after }: AccountFilter): Expression<SqlBool>[] {
  const name = sql.ref(`${table}.name`)
  const first = prefix?.toLowerCase()
  return [
    ...(first === undefined ? [] : [sql<SqlBool>`${name} >= ${first} and starts_with(${name}, ${first})`]),
    ...(after === undefined ? [] : [sql<SqlBool>`${name} > ${after}`]),
  ]
}

function hasScheme(scheme: PasswordScheme): Expression<SqlBool> {
  return scheme === 'ARGON2ID'
    ? sql<SqlBool>`accounts.foreign_scheme is null and accounts.password_set_at is not null`
    : sql<SqlBool>`accounts.foreign_scheme = ${scheme}`
}

/**
 * The first names of each domain by its own index, so that a limited caller's list never reads rows of others. The
 * accounts are looked at only where their columns are asked for: else the planner may begin with those of everybody.
 */
function ownNames(
  domains: readonly string[],
  { limit = 0, ...filter }: AccountFilter,
  scheme: Expression<SqlBool>[],
): Expression<SqlBool> {
  const accounts = scheme.length === 0 ? sql`` : sql`join app.accounts on accounts.name = mailboxes.name`
  const matching = sql.join([sql`true`, ...inRange('mailboxes', filter), ...scheme], sql` and `)
  return sql<SqlBool>`accounts.name in (
    select candidate.name from unnest(${domains}::text[]) as own (domain) cross join lateral (
      select mailboxes.name
      from app.mailboxes ${accounts}
      where mailboxes.domain = own.domain and mailboxes.state = 'active' and ${matching}
      order by mailboxes.name limit ${limit + 1}
    ) as candidate)`
}
