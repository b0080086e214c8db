import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Tx } from '../database.ts'

/** Each address once, the new one in the place of the old one where it is not there yet. */
function redirected(list: RawBuilder<unknown>, from: string, to: string): RawBuilder<unknown> {
  return sql`case when ${to}::text = any (${list})
    then array_remove(${list}, ${from}::text) else array_replace(${list}, ${from}::text, ${to}::text) end`
}

/**
 * Whatever sends to the old address sends to the new one, in whose domain it may be: so no chain grows with each rename,
 * and no mail is lost where the old address is given up. The graph of aliases is held.
 */
export async function redirectTargets(tx: Tx, from: string, to: string): Promise<void> {
  const lists = (names: string[]) =>
    sql.join(names.map((name) => sql`${sql.ref(name)} = ${redirected(sql.ref(name), from, to)}`))
  await sql`
    with b as (
      select a.name, a.domain, a.targets from app.aliases as a where a.targets @> array[${from}::text] for update
    ), a as (
      update app.aliases as a set ${lists(['targets', 'forwarded'])}, version = gen_random_uuid(), updated_at = now()
      where a.targets @> array[${from}::text]
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
  await sql`
    with b as (
      select m.name, m.forward_to from app.mailboxes as m where m.forward_to @> array[${from}::text] for update
    ), m as (
      update app.mailboxes as m set ${lists(['forward_to', 'forwarded'])}, version = gen_random_uuid(), updated_at = now()
      where m.forward_to @> array[${from}::text]
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
  await sql`
    update app.domains set postmaster_address = ${to}, version = gen_random_uuid(), updated_at = now()
    where postmaster_address = ${from}`.execute(tx)
  await sql`
    update app.settings set postmaster_address = ${to}, version = gen_random_uuid(), updated_at = now()
    where postmaster_address = ${from}`.execute(tx)
}
