import { type RawBuilder, sql } from 'kysely'
import type { Action } from '../audit/actions.ts'
import { insertEvents } from '../audit/record.ts'
import type { Tx } from '../database.ts'
import type { Subject } from '../subject.ts'
import { isOwn, type Redirection } from './old-addresses.ts'

/** Each address once, the new one in the place of the old one where it is not there yet. */
function redirected(list: RawBuilder<unknown>, { from, to }: Redirection): RawBuilder<unknown> {
  return sql`case when ${to}::text = any (${list})
    then array_remove(${list}, ${from}::text) else array_replace(${list}, ${from}::text, ${to}::text) end`
}

/**
 * Whatever sends to the old address, in the caller's domains, sends to the new one: so no chain grows with each rename,
 * and no mail of theirs is lost where the old address is given up. The graph of aliases and the domains are held.
 */
export async function redirectTargets(
  tx: Tx,
  redirection: Redirection,
  visible: Subject['domains'],
): Promise<void> {
  await redirectAliases(tx, redirection, isOwn(visible, sql`a.domain`))
  await redirectForwarding(tx, redirection, isOwn(visible, sql`m.domain`))
  await redirectPostmaster(tx, redirection, 'domains', isOwn(visible, sql`p.name`))
  if (visible === '*') await redirectPostmaster(tx, redirection, 'settings', sql`true`)
}

async function redirectAliases(tx: Tx, redirection: Redirection, own: RawBuilder<unknown>): Promise<void> {
  const named = sql`a.targets @> array[${redirection.from}::text] and ${own}`
  await sql`
    with b as (
      select a.name, a.domain, a.targets from app.aliases as a where ${named} for update
    ), a as (
      update app.aliases as a
      set targets = ${redirected(sql`a.targets`, redirection)}, forwarded = ${redirected(sql`a.forwarded`, redirection)},
        version = gen_random_uuid(), updated_at = now()
      from b -- read first: a row that this statement has changed already cannot be locked by it
      where a.name = b.name and a.domain = b.domain
      returning a.name, a.domain, a.targets
    )
    ${insertEvents({
      action: 'alias.update',
      object: sql`a.name || '@' || a.domain`,
      domain: sql`a.domain`,
      before: sql`jsonb_build_object('targets', b.targets)`,
      after: sql`jsonb_build_object('targets', a.targets)`,
      from: sql`a join b on b.name = a.name and b.domain = a.domain`,
    })}`.execute(tx)
}

async function redirectForwarding(tx: Tx, redirection: Redirection, own: RawBuilder<unknown>): Promise<void> {
  const named = sql`m.forward_to @> array[${redirection.from}::text] and m.forward_to <> '{}' and ${own}`
  await sql`
    with b as (
      select m.name, m.forward_to from app.mailboxes as m where ${named} for update
    ), m as (
      update app.mailboxes as m
      set forward_to = ${redirected(sql`m.forward_to`, redirection)},
        forwarded = ${redirected(sql`m.forwarded`, redirection)}, version = gen_random_uuid(), updated_at = now()
      from b
      where m.name = b.name
      returning m.name, m.domain, m.forward_to
    )
    ${insertEvents({
      action: 'mailbox.update',
      object: sql`m.name || '@' || m.domain`,
      domain: sql`m.domain`,
      before: sql`jsonb_build_object('forward_to', b.forward_to)`,
      after: sql`jsonb_build_object('forward_to', m.forward_to)`,
      from: sql`m join b on b.name = m.name`,
    })}`.execute(tx)
}

const postmasters = {
  domains: { action: 'domain.update', object: sql`p.name`, domain: sql`p.name`, returning: sql`p.name` },
  settings: { action: 'server.update', object: sql`''`, domain: null, returning: sql`1` },
} as const satisfies Record<string, { action: Action } & Record<string, unknown>>

async function redirectPostmaster(
  tx: Tx,
  { from, to }: Redirection,
  table: keyof typeof postmasters,
  own: RawBuilder<unknown>,
): Promise<void> {
  const { returning, ...event } = postmasters[table]
  await sql`
    with p as (
      update ${sql.table(`app.${table}`)} as p
      set postmaster_address = ${to}, version = gen_random_uuid(), updated_at = now()
      where p.postmaster_address = ${from} and ${own}
      returning ${returning}
    )
    ${insertEvents({
      ...event,
      before: sql`jsonb_build_object('postmaster_address', ${from}::text)`,
      after: sql`jsonb_build_object('postmaster_address', ${to}::text)`,
      from: sql`p`,
    })}`.execute(tx)
}
