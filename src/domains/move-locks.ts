import { sql } from 'kysely'
import type { Tx } from '../database.ts'
import type { Move } from './move.ts'

/**
 * Both domains, the alias domains, and those that have something which sends to an old address, or a mailbox that left
 * an alias behind in one of the two: everything that a move writes lies in one of these, or is the server's own. In the
 * order of their names, before any row in them, as in a rename.
 */
export async function lockDomainsAround(tx: Tx, { from, to }: Move): Promise<void> {
  const names = (list: string) => sql`exists (
    select from unnest(${sql.ref(list)}) as t (address) where split_part(t.address, '@', 2) = ${from})`
  await sql`
    select from app.domains as d
    where d.name in (${from}, ${to}) or d.alias_of = ${from}
      or split_part(d.postmaster_address, '@', 2) = ${from}
      or d.name in (select a.domain from app.aliases as a where ${names('a.targets')})
      or d.name in (
        select m.domain from app.mailboxes as m where m.forward_to <> '{}' and ${names('m.forward_to')}
      )
      or d.name in (
        select m.domain from app.aliases as a join app.mailboxes as m on m.id = a.left_by
        where a.domain in (${from}, ${to})
      )
    order by d.name
    for update`.execute(tx)
  await sql`
    select from app.settings as s where split_part(s.postmaster_address, '@', 2) = ${from}
    for update`.execute(tx)
}

/** Deletions of mailboxes and whatever writes aliases hold these alone, and not the domain. */
export async function lockAddresses(tx: Tx, { from, to }: Move): Promise<void> {
  await sql`
    select from app.mailboxes as m where m.domain = ${from} order by m.name for update`.execute(tx)
  await sql`
    select from app.addresses as x
    where x.domain = ${from} or (x.domain = ${to} and x.kind = 'alias' and exists (
      select from app.addresses as o where o.name = x.name and o.domain = ${from}
    ))
    order by x.name, x.domain
    for update`.execute(tx)
}
