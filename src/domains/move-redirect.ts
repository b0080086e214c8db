import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Tx } from '../database.ts'
import type { Move } from './move.ts'

const maxAddressOctets = 254 // RFC 5321 §4.5.3.1.3

/** The address in the new domain, without its +detail where there is no room for that, else as it was. */
function redirected(address: RawBuilder<unknown>, { from, to }: Move): RawBuilder<unknown> {
  const local = sql`split_part(${address}, '@', 1)`
  const whole = sql`${local} || '@' || ${to}::text`
  const bare = sql`mail.name_of(${local}) || '@' || ${to}::text`
  return sql`case
    when split_part(${address}, '@', 2) <> ${from} then ${address}
    when length(${whole}) <= ${maxAddressOctets} then ${whole}
    when length(${bare}) <= ${maxAddressOctets} then ${bare}
    else ${address} end`
}

/** Each address once, in the place where it was first. */
function redirectedList(list: RawBuilder<unknown>, move: Move): RawBuilder<unknown> {
  return sql`array(
    select r.address
    from unnest(${list}) with ordinality as t (address, place)
      cross join lateral (select ${redirected(sql`t.address`, move)} as address) as r
    group by r.address order by min(t.place))`
}

/**
 * Whatever sends to an address of the old domain, in all domains, sends to that of the new one. The graph of aliases and
 * the domains are held.
 */
export async function redirectDomain(tx: Tx, move: Move): Promise<void> {
  await redirectAliases(tx, move)
  await redirectForwarding(tx, move)
  await redirectPostmasters(tx, move)
  await redirectServer(tx, move)
}

function namesOld(list: RawBuilder<unknown>, { from }: Move): RawBuilder<unknown> {
  return sql`exists (
    select from unnest(${list}) as t (address) where split_part(t.address, '@', 2) = ${from})`
}

/** Of what lies in the old domain only who may see both domains is told; its holders are not to learn of the other. */
const told = (domain: RawBuilder<unknown>, { from }: Move) => sql`nullif(${domain}, ${from})`

async function redirectAliases(tx: Tx, move: Move): Promise<void> {
  await sql`
    with a as (
      update app.aliases as a
      set targets = ${redirectedList(sql`a.targets`, move)}, forwarded = ${redirectedList(sql`a.forwarded`, move)},
        version = gen_random_uuid(), updated_at = now()
      from app.aliases as b
      where b.name = a.name and b.domain = a.domain and ${namesOld(sql`a.targets`, move)}
      returning a.name, a.domain, b.targets as old_targets, a.targets
    )
    ${insertEvents({
      action: 'alias.update',
      object: sql`a.name || '@' || a.domain`,
      domain: told(sql`a.domain`, move),
      before: sql`jsonb_build_object('targets', a.old_targets)`,
      after: sql`jsonb_build_object('targets', a.targets)`,
      from: sql`a`,
    })}`.execute(tx)
}

async function redirectForwarding(tx: Tx, move: Move): Promise<void> {
  await sql`
    with b as (
      select b.name, b.forward_to from app.mailboxes as b
      where b.forward_to <> '{}' and ${namesOld(sql`b.forward_to`, move)}
      for update
    ), m as (
      update app.mailboxes as m
      set forward_to = ${redirectedList(sql`m.forward_to`, move)},
        forwarded = ${redirectedList(sql`m.forwarded`, move)}, version = gen_random_uuid(), updated_at = now()
      from b
      where b.name = m.name
      returning m.name, m.domain, b.forward_to as old_forward_to, m.forward_to
    )
    ${insertEvents({
      action: 'mailbox.update',
      object: sql`m.name || '@' || m.domain`,
      domain: told(sql`m.domain`, move),
      before: sql`jsonb_build_object('forward_to', m.old_forward_to)`,
      after: sql`jsonb_build_object('forward_to', m.forward_to)`,
      from: sql`m`,
    })}`.execute(tx)
}

async function redirectPostmasters(tx: Tx, move: Move): Promise<void> {
  await sql`
    with d as (
      update app.domains as d
      set postmaster_address = ${redirected(sql`d.postmaster_address`, move)}, version = gen_random_uuid(),
        updated_at = now()
      from app.domains as b
      where b.name = d.name and split_part(d.postmaster_address, '@', 2) = ${move.from}
      returning d.name, b.postmaster_address as old_address, d.postmaster_address
    )
    ${insertEvents({
      action: 'domain.update',
      object: sql`d.name`,
      domain: told(sql`d.name`, move),
      before: sql`jsonb_build_object('postmaster_address', d.old_address)`,
      after: sql`jsonb_build_object('postmaster_address', d.postmaster_address)`,
      from: sql`d`,
    })}`.execute(tx)
}

async function redirectServer(tx: Tx, move: Move): Promise<void> {
  await sql`
    with s as (
      update app.settings as s
      set postmaster_address = ${redirected(sql`s.postmaster_address`, move)}, version = gen_random_uuid(),
        updated_at = now()
      from app.settings as b
      where split_part(s.postmaster_address, '@', 2) = ${move.from}
      returning b.postmaster_address as old_address, s.postmaster_address
    )
    ${insertEvents({
      action: 'server.update',
      object: sql`''`,
      domain: null,
      before: sql`jsonb_build_object('postmaster_address', s.old_address)`,
      after: sql`jsonb_build_object('postmaster_address', s.postmaster_address)`,
      from: sql`s`,
    })}`.execute(tx)
}
