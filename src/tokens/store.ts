import { type Expression, type Insertable, type SqlBool, sql } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import type { Database, Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { Fuse, Limits } from './limits.ts'
import type { Token, TokenListQuery } from './schemas.ts'

const columns = [
  'id',
  'parent',
  'label',
  'scopes',
  'domains',
  'allowed_ips',
  'password_delivery',
  'deletes_per_day',
  'locks_per_day',
  'password_sets_per_day',
  'state',
  'created_by',
  'created_at',
  'expires_at',
  'revoked_at',
  'last_used_at',
  'version',
] as const

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

export function isTokenId(text: string): boolean {
  return uuid.test(text)
}

export function lookUpId(text: string): string {
  if (isTokenId(text)) return text
  throw problem('token-not-found')
}

export type TokenRow = Omit<Token, 'limits'> & Limits & { version: string }

export function toToken(row: TokenRow): Token {
  const { version: _, deletes_per_day, locks_per_day, password_sets_per_day, ...token } = row
  return { ...token, limits: { deletes_per_day, locks_per_day, password_sets_per_day } }
}

const blownFuses = sql<Fuse[]>`array(
  select f.kind from app.token_fuses as f where f.token = token_states.id and f.blown_at is not null order by f.kind
)`.as('blown_fuses')

/** What a request needs to know of the token that it came with. */
export type StoredToken = Pick<Database['token_states'], (typeof storedColumns)[number]>

const storedColumns = [
  'id',
  'ancestors',
  'scopes',
  'domains',
  'allowed_ips',
  'password_delivery',
  'deletes_per_day',
  'locks_per_day',
  'password_sets_per_day',
  'expires_at',
  'state',
] as const

export function findToken(db: Db, id: string): Promise<StoredToken | undefined> {
  return db.selectFrom('token_states').select(storedColumns).where('id', '=', id).executeTakeFirst()
}

export async function readNotBefore(db: Db): Promise<{ notBefore: Date | null }> {
  const row = await db.selectFrom('settings').select('tokens_not_before').executeTakeFirstOrThrow()
  return { notBefore: row.tokens_not_before }
}

/**
 * To a limited caller a token exists whose domains are all its own. One that ended before a domain of that name was made
 * is of whoever had the name before: all of them end when a domain is removed (src/tokens/end-with-domain.ts).
 */
function isVisible(visible: Subject['domains']): Expression<SqlBool> {
  if (visible === '*') return sql<boolean>`true`
  return sql<boolean>`domains <@ ${visible}::text[] and not exists (
    select from unnest(domains) as own (name) left join app.domains as d on d.name = own.name
    where least(revoked_at, expires_at) <= coalesce(d.created_at, now())
  )`
}

export function getToken(db: Db, id: string, visible: Subject['domains']): Promise<TokenRow> {
  return db
    .selectFrom('token_states')
    .select(columns)
    .select(blownFuses)
    .where('id', '=', id)
    .where(isVisible(visible))
    .executeTakeFirstOrThrow(() => problem('token-not-found'))
}

export interface TokenFilter extends Omit<TokenListQuery, 'cursor'> {
  visible: Subject['domains']
  after: { createdAt: Date; id: string } | undefined
}

/** One row more than `limit`, where there is one. */
export function listTokens(db: Db, { visible, state, after, limit }: TokenFilter): Promise<TokenRow[]> {
  const query = db.selectFrom('token_states').select(columns).select(blownFuses).where('state', '=', state)
  const rest = after
    ? query.where(sql<boolean>`(created_at, id) > (${after.createdAt}, ${after.id}::uuid)`)
    : query
  return rest
    .where(isVisible(visible))
    .orderBy('created_at')
    .orderBy('id')
    .limit(limit + 1)
    .execute()
}

/** Those of the domains that are there. */
export async function findDomains(db: Db, names: readonly DomainName[]): Promise<Set<DomainName>> {
  const rows = await db
    .selectFrom('domains')
    .select('name')
    .where('name', '=', sql<DomainName>`any(${names}::text[])`)
    .where('state', '=', 'active')
    .execute()
  return new Set(rows.map(({ name }) => name))
}

export async function insertToken(db: Db, values: Insertable<Database['tokens']>): Promise<TokenRow> {
  const { ancestors: _, ...row } = await db
    .insertInto('tokens')
    .values(values)
    .returning(['ancestors', ...columns.filter((name) => name !== 'state')])
    .executeTakeFirstOrThrow()
  return { ...row, state: 'active', blown_fuses: [] }
}

export interface Revocation {
  id: string
  visible: Subject['domains']
  precondition: Precondition
}

/** Ends the token and all that were made with it. Doing it again changes nothing. */
export async function revokeToken(tx: Tx, { id, visible, precondition }: Revocation): Promise<void> {
  const token = await tx
    .selectFrom('tokens')
    .select(['version', 'revoked_at', 'domains'])
    .where('id', '=', id)
    .where(isVisible(visible))
    .forUpdate()
    .executeTakeFirstOrThrow(() => problem('token-not-found'))
  requireVersion(precondition, token.version)
  if (token.revoked_at) return
  await tx
    .updateTable('tokens')
    .set({ revoked_at: sql`now()`, version: sql`gen_random_uuid()` })
    .where('id', '=', id)
    .execute()
  await recordEvent(tx, {
    action: 'token.revoke',
    object: id,
    domain: onlyDomain(token.domains),
    before: { state: 'active' },
    after: { state: 'revoked' },
  })
}

/** Where an event of the token belongs; null where more than one domain is in it. */
export function onlyDomain(domains: readonly string[]): string | null {
  const [first, ...others] = domains
  return first === undefined || first === '*' || others.length > 0 ? null : first
}
