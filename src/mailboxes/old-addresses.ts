import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'
import type { Subject } from '../subject.ts'
import type { Address } from './address.ts'
import type { Rename } from './rename.ts'
import type { MailboxRow } from './view.ts'

/** What names the mailbox as it was, and what names it from now on. */
export interface Redirection {
  from: string
  to: string
}

/** Only what lies in the caller's domains is redirected; the kept alias passes on what others send. */
export function isOwn(visible: Subject['domains'], domain: RawBuilder<unknown>): RawBuilder<unknown> {
  return visible === '*' ? sql`true` : sql`${domain} = any (${visible}::text[])`
}

/**
 * The old address in its domain and in those of the caller that are aliases of it: in another's it is as foreign to the
 * caller as one of anybody else. With a detail, name+detail, it is looked for only
 * where the old address is given up: no index finds it, and an alias passes it on. The graph of aliases is held.
 */
export async function findOldAddresses(
  tx: Tx,
  { name, domain }: Pick<MailboxRow, 'name' | 'domain'>,
  { to, keepOld, subject: { domains: visible } }: Rename,
): Promise<Redirection[]> {
  const { rows } = await sql<{ address: string }>`
    with d as (
      select d.name from app.domains as d
      where d.name = ${domain} or d.alias_of = ${domain} and ${isOwn(visible, sql`d.name`)}
    )
    select ${name} || '@' || d.name as address from d
    union
    select t.address
    from (
      select unnest(a.targets) from app.aliases as a where ${isOwn(visible, sql`a.domain`)}
      union all
      select unnest(m.forward_to) from app.mailboxes as m
      where m.forward_to <> '{}' and ${isOwn(visible, sql`m.domain`)}
    ) as t (address)
      join d on d.name = split_part(t.address, '@', 2)
    where ${!keepOld} and mail.name_of(split_part(t.address, '@', 1)) = ${name}`.execute(tx)
  return rows.map(({ address }) => ({ from: address, to: withDetail(address, to) }))
}

const maxLocalPartOctets = 64 // RFC 5321 §4.5.3.1.1
const maxAddressOctets = 254 // RFC 5321 §4.5.3.1.3

function withDetail(from: string, { name, domain, address }: Address): string {
  const detail = /\+[^@]*/.exec(from)?.[0] ?? ''
  const local = name + detail
  const fits = local.length <= maxLocalPartOctets && local.length + 1 + domain.length <= maxAddressOctets
  return fits ? `${local}@${domain}` : address
}

/**
 * Everything that a rename writes lies in one of these domains, or is the server's own; so they are held before any
 * mailbox, in the order of their names. Their names come first, each way by its index, and then one probe for each:
 * where a row may qualify by any of several ways, Postgres reads them all.
 */
export async function lockDomainsAround(
  tx: Tx,
  both: string[],
  redirections: readonly Redirection[],
  visible: Subject['domains'],
): Promise<void> {
  const old = sql`${redirections.map(({ from }) => from)}::text[]`
  await sql`
    select from app.domains as d
    where d.name = any (${both}::text[] || array(
      select p.name from app.domains as p
      where p.postmaster_address = any (${old}) and ${isOwn(visible, sql`p.name`)}
      union
      select a.domain from app.aliases as a where a.targets && ${old} and ${isOwn(visible, sql`a.domain`)}
      union
      select m.domain from app.mailboxes as m
      where m.forward_to && ${old} and m.forward_to <> '{}' and ${isOwn(visible, sql`m.domain`)}
    ))
    order by d.name
    for update`.execute(tx)
  if (visible !== '*') return
  await sql`select from app.settings as s where s.postmaster_address = any (${old}) for update`.execute(tx)
}
