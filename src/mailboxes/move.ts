import { sql } from 'kysely'
import type { Tx } from '../database.ts'
import type { Address } from './address.ts'
import type { MailboxRow } from './view.ts'

/**
 * Puts the mailbox and its account under the new name and address; a name is what others refer to, so that its rows are
 * made anew with what they had. The new address is free, and what is held is that of `renameMailbox`.
 */
export async function moveMailbox(tx: Tx, before: MailboxRow, to: Address, keepOld: boolean): Promise<void> {
  const mailbox = await takeMailbox(tx, before)
  if (keepOld) await turnIntoAlias(tx, before, to)
  else
    await sql`
    delete from app.addresses where name = ${before.name} and domain = ${before.domain}`.execute(tx)
  // the address before the account, as a create writes them: two that race for a name wait for one another in one place
  await sql`
    with x as (
      insert into app.addresses (name, domain, kind, holds_name) values (${to.name}, ${to.domain}, 'mailbox', true)
    )
    insert into app.mailboxes
    select (jsonb_populate_record(null::app.mailboxes, ${mailbox}::jsonb || jsonb_build_object(
      'name', ${to.name}::text, 'domain', ${to.domain}::text, 'version', gen_random_uuid(), 'updated_at', now()))).*`.execute(
    tx,
  )
  if (to.name !== before.name) await moveAccount(tx, before, to, keepOld)
  await moveVerifiers(tx, before, to)
  await moveUsage(tx, before.address, to.address)
}

/** The row, whatever columns it has. */
async function takeMailbox(tx: Tx, { name }: MailboxRow): Promise<string> {
  const { rows } = await sql<{ row: string }>`
    delete from app.mailboxes as m where m.name = ${name} returning to_jsonb(m)::text as row`.execute(tx)
  return rows[0]!.row
}

/** Its name is held where the mailbox has another one from now on. */
async function turnIntoAlias(tx: Tx, { name, domain, id }: MailboxRow, to: Address): Promise<void> {
  await sql`
    update app.addresses set kind = 'alias', holds_name = ${name !== to.name}
    where name = ${name} and domain = ${domain}`.execute(tx)
  await sql`
    insert into app.aliases (name, domain, targets, left_by)
    values (${name}, ${domain}, array[${to.address}::text], ${id})`.execute(tx)
}

async function moveAccount(tx: Tx, { name }: MailboxRow, to: Address, keepOld: boolean): Promise<void> {
  await sql`
    insert into app.accounts
    select (jsonb_populate_record(null::app.accounts, to_jsonb(a) || jsonb_build_object(
      'name', ${to.name}::text, 'version', gen_random_uuid(), 'updated_at', now()))).*
    from app.accounts as a where a.name = ${name}`.execute(tx)
  await sql`select app.move_verifiers(${name}, ${to.name}, '{SCRAM-SHA-256,CRAM-MD5}')`.execute(tx)
  await sql`delete from app.accounts where name = ${name}`.execute(tx)
  if (!keepOld) return
  await sql`
    insert into app.accounts (name, state, authentication) values (${name}, 'held', 'local')`.execute(tx)
}

/** Of mechanisms that the new domain does not list nothing is left. */
async function moveVerifiers(tx: Tx, before: MailboxRow, to: Address): Promise<void> {
  if (to.domain === before.domain) return
  const { rows } = await sql<{ listed: string[] }>`
    select coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as listed
    from app.settings as s cross join app.domains as d where d.name = ${to.domain}`.execute(tx)
  const { listed } = rows[0]!
  await sql`select app.move_verifiers(${to.name}, ${to.name}, ${listed}::text[])`.execute(tx)
  await sql`
    update app.accounts as a
    set mechanisms = array(select k from unnest(a.mechanisms) as k where k = any (${listed}::text[]))
    where a.name = ${to.name} and not a.mechanisms <@ ${listed}::text[]`.execute(tx)
}

async function moveUsage(tx: Tx, from: string, to: string): Promise<void> {
  for (const table of [sql`mail.usage`, sql`mail.last_login`]) {
    await sql`delete from ${table} where username = ${to}`.execute(tx)
    await sql`update ${table} set username = ${to} where username = ${from}`.execute(tx)
  }
}
