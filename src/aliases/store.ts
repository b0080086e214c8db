import { type RawBuilder, sql } from 'kysely'
import type { Db, Tx } from '../database.ts'
import type { Address } from '../mailboxes/address.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { Alias } from './schemas.ts'

export interface AliasRow extends Alias {
  name: string
  domain: string
  version: string
}

/**
 * Which targets work is told of those domains only that the caller may see, here `visible`. Where they are some, only
 * whether the target is there and takes mail: what becomes of the mail behind it may lie in domains of others.
 */
function brokenTargets(visible: Subject['domains']): RawBuilder<unknown> {
  const [domain, works] =
    visible === '*'
      ? [
          sql`true`,
          sql`select from mail.recipients(
            split_part(t.address, '@', 1), split_part(t.address, '@', 2), t.address <> all (a.forwarded))`,
        ]
      : [
          sql`split_part(t.address, '@', 2) = any(${visible}::text[])
            and (d.alias_of is null or d.alias_of = any(${visible}::text[]))`,
          sql`select from app.addresses as y
              left join app.mailboxes as m on m.name = y.name and m.domain = y.domain
            where y.name = mail.name_of(split_part(t.address, '@', 1)) and y.domain = coalesce(d.alias_of, d.name)
              and d.state = 'active' and (m.name is null or m.state = 'active' and m.delivery = 'accept')`,
        ]
  return sql`array(
    select t.address
    from unnest(a.targets) with ordinality as t (address, place)
      left join app.domains as d on d.name = split_part(t.address, '@', 2)
    where ${domain} and not exists (${works})
    order by t.place)`
}

/** The columns of AliasRow, over a source a of aliases and x of addresses. */
export function aliasColumns(visible: Subject['domains']): RawBuilder<unknown> {
  return sql`a.name || '@' || a.domain as address, a.name, a.domain, a.targets, a.send_as,
    ${brokenTargets(visible)} as broken_targets, x.holds_name, a.version, a.created_at, a.updated_at`
}

export function toAlias({ name: _, domain: __, version: ___, ...alias }: AliasRow): Alias {
  return alias
}

export interface AliasTarget {
  address: Address
  visible: Subject['domains']
}

async function findAlias(
  db: Db,
  { address: { name, domain }, visible }: AliasTarget,
): Promise<AliasRow | undefined> {
  const own = visible === '*' ? sql`true` : sql`a.domain = any(${visible}::text[])`
  const { rows } = await sql<AliasRow>`
    select ${aliasColumns(visible)}
    from app.aliases as a
      join app.addresses as x on x.name = a.name and x.domain = a.domain
      join app.domains as d on d.name = a.domain and d.state = 'active'
    where a.name = ${name} and a.domain = ${domain} and ${own}`.execute(db)
  return rows[0]
}

export async function getAlias(...target: Parameters<typeof findAlias>): Promise<AliasRow> {
  const row = await findAlias(...target)
  if (row) return row
  throw problem('alias-not-found')
}

/** What a write has to know of the alias as it is. */
export interface LockedAlias {
  targets: string[]
  forwarded: string[]
  send_as: boolean
  holds_name: boolean
  version: string
}

/** Holds the alias until the transaction ends; the address first, as what removes both does. */
export async function lockAlias(tx: Tx, { address, visible }: AliasTarget): Promise<LockedAlias> {
  const { name, domain } = address
  const own = visible === '*' ? sql`true` : sql`a.domain = any(${visible}::text[])`
  await sql`
    select from app.addresses as a
    where a.name = ${name} and a.domain = ${domain} and a.kind = 'alias' and ${own}
    for update`.execute(tx)
  const { rows } = await sql<LockedAlias>`
    select a.targets, a.forwarded, a.send_as, x.holds_name, a.version
    from app.aliases as a
      join app.addresses as x on x.name = a.name and x.domain = a.domain
      join app.domains as d on d.name = a.domain and d.state = 'active'
    where a.name = ${name} and a.domain = ${domain} and ${own}
    for update of a`.execute(tx)
  if (rows[0]) return rows[0]
  throw problem('alias-not-found')
}

export interface NewAlias {
  address: Address
  targets: string[]
  forwarded: string[]
  send_as: boolean
}

/** false where the domain is not there; a taken address is a violation of addresses_pkey. */
export async function insertAlias(
  tx: Tx,
  { address: { name, domain }, targets, forwarded, send_as }: NewAlias,
): Promise<boolean> {
  const { rows } = await sql`
    with d as (
      select d.name from app.domains as d
      where d.name = ${domain} and d.state = 'active' and d.alias_of is null
      for key share
    ), x as (
      insert into app.addresses (name, domain, kind, holds_name)
      select ${name}, d.name, 'alias', false from d
      returning name, domain
    )
    insert into app.aliases (name, domain, targets, forwarded, send_as)
    select x.name, x.domain, ${targets}::text[], ${forwarded}::text[], ${send_as} from x
    returning name`.execute(tx)
  return rows.length > 0
}

export async function writeAlias(
  tx: Tx,
  { name, domain }: Address,
  values: Pick<NewAlias, 'targets' | 'forwarded' | 'send_as'>,
): Promise<void> {
  await tx
    .updateTable('aliases')
    .set({ ...values, version: sql`gen_random_uuid()`, updated_at: sql`now()` })
    .where('name', '=', name)
    .where('domain', '=', domain)
    .execute()
}

/** The name that a rename left behind, where the alias holds it, is free with it. */
export async function removeAlias(tx: Tx, { name, domain }: Address): Promise<void> {
  await sql`
    with x as (
      delete from app.addresses as x where x.name = ${name} and x.domain = ${domain} returning x.name, x.holds_name
    )
    delete from app.accounts as a using x where x.holds_name and a.name = x.name and a.state = 'held'`.execute(
    tx,
  )
}
