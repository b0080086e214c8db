import { sql } from 'kysely'
import { roleNames } from '../accounts/role-names.ts'
import { assertGraphSound } from '../aliases/graph.ts'
import { insertEvents } from '../audit/record.ts'
import type { Tx } from '../database.ts'
import { ProblemError, problem, problemAt } from '../problems.ts'
import { countMailboxes } from './mailbox-counts.ts'
import type { Move } from './move.ts'
import type { DomainName } from './name.ts'
import type { DomainRow } from './store.ts'

/** Of addresses that stand against a move at most so many are named. */
const named = 20

export async function assertMovable(tx: Tx, move: Move, target: DomainRow): Promise<void> {
  await assertRoleNamesAllowed(tx, move)
  await assertShort(tx, move)
  await assertFree(tx, move)
  await assertRoomFor(tx, move, target)
}

/**
 * An alias that sends to the address of the same name in the other domain, and to nobody else, says what the move does,
 * and gives way: of a domain that was prepared, and of a mailbox that went ahead. Returns how many there were.
 */
export async function dropMirrors(tx: Tx, { from, to }: Move): Promise<number> {
  const { rows } = await sql<{ dropped: number }>`
    with mirrors as (
      select a.name, a.domain, a.targets, a.send_as
      from (
        select o.name from app.addresses as o join app.addresses as n on n.name = o.name and n.domain = ${to}
        where o.domain = ${from} and o.name <> ''
      ) as both_have
        join app.aliases as a on a.name = both_have.name and (
          a.domain = ${from} and a.targets = array[a.name || '@' || ${to}::text]
          or a.domain = ${to} and a.targets = array[a.name || '@' || ${from}::text]
        )
    ), x as (
      delete from app.addresses as x using mirrors as a
      where x.name = a.name and x.domain = a.domain and not x.holds_name
      returning x.name, x.domain, a.targets, a.send_as
    ), event as (${insertEvents({
      action: 'alias.delete',
      object: sql`x.name || '@' || x.domain`,
      domain: sql`x.domain`,
      before: sql`jsonb_build_object('targets', x.targets, 'send_as', x.send_as)`,
      from: sql`x`,
    })})
    select count(*) as dropped from x`.execute(tx)
  return rows[0]!.dropped
}

/** A role name in the new domain is one that somebody gets there, and so is its catch-all. */
async function assertRoleNamesAllowed(tx: Tx, { from, allowRoleNames }: Move): Promise<void> {
  if (allowRoleNames) return
  const { rows } = await sql<{ address: string }>`
    select x.name || '@' || x.domain as address from app.addresses as x
    where x.domain = ${from} and x.name = any (${['', ...roleNames]}::text[])
    order by x.name limit ${named}`.execute(tx)
  if (rows.length === 0) return
  const addresses = rows.map(({ address }) => address).join(', ')
  const detail = `The domain has addresses that are reserved for a role (${addresses}). Send allow_role_name: true with a token that has the scope names:reserved.`
  throw problemAt('role-name-refused', '/allow_role_name', detail)
}

const maxAddressOctets = 254 // RFC 5321 §4.5.3.1.3

async function assertShort(tx: Tx, { from, to }: Move): Promise<void> {
  const { rows } = await sql<{ name: string }>`
    select x.name from app.addresses as x
    where x.domain = ${from} and length(x.name) + 1 + length(${to}::text) > ${maxAddressOctets}
    order by x.name limit 1`.execute(tx)
  if (!rows[0]) return
  const detail = `An address has at most ${maxAddressOctets} octets, and ${rows[0].name}@${to} would have more.`
  throw problemAt('invalid-address', '/to', detail)
}

/** No mailbox can have the name of another, but an alias can have that of an alias or of a mailbox elsewhere. */
async function assertFree(tx: Tx, { from, to }: Move): Promise<void> {
  const { rows } = await sql<{ address: string; kind: 'mailbox' | 'alias'; count: number }>`
    select n.name || '@' || n.domain as address, n.kind, count(*) over () as count
    from app.addresses as o join app.addresses as n on n.name = o.name and n.domain = ${to}
    where o.domain = ${from}
    order by n.name limit ${named}`.execute(tx)
  const [first] = rows
  if (!first) return
  const { kind, address, count } = first
  throw problem('addresses-taken', {
    detail: `Both domains have ${count} of the local parts.`,
    errors: rows.map((row) => ({ pointer: '/to', detail: `${row.address} is there already (${row.kind}).` })),
    conflict: { kind, address },
  })
}

/** Deleted mailboxes do not count. */
async function assertRoomFor(tx: Tx, { from, to }: Move, { mailbox_limit }: DomainRow): Promise<void> {
  if (mailbox_limit === null) return
  const counts = await countMailboxes(tx, [from, to])
  const [coming, there] = [counts.get(from) ?? 0, counts.get(to) ?? 0]
  if (coming === 0 || there + coming <= mailbox_limit) return
  throw problem('mailbox-limit-reached', {
    detail: `${to} may have ${mailbox_limit} mailboxes and has ${there}; ${from} has ${coming}.`,
  })
}

type Step = { name: never; domain: DomainName }

/**
 * The aliases, by what they are after the move, with a target that was nothing in its domain but is an address in the
 * other, so that it leads somewhere from now on. Everything else goes the ways that it went.
 */
export async function findNewSteps(tx: Tx, { from, to }: Move): Promise<Step[]> {
  const has = (domain: unknown) => sql`exists (
    select from app.addresses as x where x.name = t.name and x.domain = ${domain})`
  const { rows } = await sql<Step>`
    select distinct a.name, case a.domain when ${from} then ${to} else a.domain end as domain
    from app.aliases as a
      cross join lateral (
        select mail.name_of(split_part(u.address, '@', 1)) as name, coalesce(d.alias_of, d.name) as domain
        from unnest(a.targets) as u (address) join app.domains as d on d.name = split_part(u.address, '@', 2)
      ) as t
    where t.name <> '' and (
      t.domain = ${from} and not ${has(from)} and ${has(to)} or t.domain = ${to} and not ${has(to)} and ${has(from)}
    )`.execute(tx)
  return rows
}

/** Names the alias, which may be any of them. */
export async function assertStepsSound(tx: Tx, steps: readonly Step[]): Promise<void> {
  for (const alias of steps) {
    await assertGraphSound(tx, alias, '*').catch((error: unknown) => {
      if (!(error instanceof ProblemError)) throw error
      const address = `${alias.name}@${alias.domain}`
      throw problem(error.code, {
        detail: `This would come of the targets of ${address}. ${error.detail ?? ''}`.trim(),
      })
    })
  }
}
