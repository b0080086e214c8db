import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Tx } from '../database.ts'
import type { Move } from './move.ts'

export interface MovedAddresses {
  mailboxes_moved: number
  aliases_moved: number
  /** Of the mailboxes, those that somebody can be logged in to. */
  active: number
}

/** All of them in one statement, at the end of which the foreign keys between them are looked at. */
export async function moveAddresses(tx: Tx, move: Move): Promise<MovedAddresses> {
  const { from, to } = move
  await moveUsage(tx, move)
  const { rows } = await sql<MovedAddresses>`
    with x as (
      update app.addresses as x set domain = ${to} where x.domain = ${from}
    ), m as (
      update app.mailboxes as m set domain = ${to}, version = gen_random_uuid(), updated_at = now()
      where m.domain = ${from}
      returning m.name, m.state
    ), a as (
      update app.aliases as a set domain = ${to}, version = gen_random_uuid(), updated_at = now()
      where a.domain = ${from}
      returning a.name
    ), ${movedEvents('mailbox', sql`m`, move)}, ${movedEvents('alias', sql`a`, move)}
    select (select count(*) from m) as mailboxes_moved, (select count(*) from m where m.state = 'active') as active,
      (select count(*) from a) as aliases_moved`.execute(tx)
  await dropUnlistedMechanisms(tx, move)
  return rows[0]!
}

/**
 * Once for each of the two domains, as where one mailbox is renamed, and each time without the address in the other.
 * That it came is written after that it left: parts of a statement that do not read one another have no order.
 */
function movedEvents(
  kind: 'mailbox' | 'alias',
  rows: RawBuilder<unknown>,
  { from, to, keepOld }: Move,
): RawBuilder<unknown> {
  const [left, came] = [sql.raw(`${kind}_left`), sql.raw(`${kind}_came`)]
  const moved = (domain: string) => ({
    action: `${kind}.rename` as const,
    object: sql`moved.name || '@' || ${domain}::text`,
    domain: sql`${domain}::text`,
  })
  const address = (domain: string) => sql`jsonb_build_object('address', moved.name || '@' || ${domain}::text)`
  const nowhere = sql`jsonb_build_object('address', null)`
  const kept = sql`jsonb_build_object('address', null, 'kept_as_alias', ${keepOld}::boolean)`
  const leaving = { ...moved(from), before: address(from), after: kept, from: sql`${rows} as moved` }
  const coming = {
    ...{ ...moved(to), before: nowhere, after: address(to) },
    from: sql`(select count(*) from ${left}) as first cross join ${rows} as moved`,
  }
  return sql`${left} as (${insertEvents(leaving)} returning id), ${came} as (${insertEvents(coming)})`
}

/** What the mail servers have written down, while the mailboxes are still there to say whose it is. */
async function moveUsage(tx: Tx, { from, to }: Move): Promise<void> {
  for (const table of [sql`mail.usage`, sql`mail.last_login`]) {
    await sql`
      delete from ${table} as u using app.mailboxes as m
      where m.domain = ${from} and u.username = m.name || '@' || ${to}::text`.execute(tx)
    await sql`
      update ${table} as u set username = m.name || '@' || ${to}::text from app.mailboxes as m
      where m.domain = ${from} and u.username = m.name || '@' || ${from}::text`.execute(tx)
  }
}

/** Of mechanisms that the new domain does not list nothing is left. */
async function dropUnlistedMechanisms(tx: Tx, { from, to }: Move): Promise<void> {
  const listed = (domain: string) => sql`(
    select coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms)
    from app.settings as s cross join app.domains as d where d.name = ${domain})`
  await sql`
    select app.drop_unlisted_verifiers(${to}) where not ${listed(from)} <@ ${listed(to)}`.execute(tx)
}
