import { sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { meets } from '../etag.ts'
import { endSessionsJobs, removeMailJobs } from '../jobs/queue.ts'
import { problem } from '../problems.ts'
import { tokensEnd } from '../tokens/end-with-domain.ts'
import { draw } from '../tokens/fuses.ts'
import { deletionEvents, purgeEvents } from './events.ts'
import { keptAliasesGo } from './kept-aliases.ts'
import {
  anyState,
  getMailbox,
  hasVersion,
  isTarget,
  lockMailbox,
  type MailboxKey,
  type MailboxKeys,
  type MailboxTarget,
} from './store.ts'
import type { MailboxRow } from './view.ts'

/**
 * Keeps the row, the name and the mail until `purge_at`. Where it goes along, the account is deleted with it, and counted
 * so that this comes before the job: a new password takes the two in this order, and both wait for a job of the same key.
 */
export async function deleteMailbox(db: Db, target: MailboxTarget, accountGoes: boolean): Promise<void> {
  const names = await deleteMailboxes(db, target, accountGoes)
  if (names.length === 0) await refuse(db, target, ['active'])
}

/** The names of those that were deleted. */
export async function deleteMailboxes(
  db: Db,
  target: MailboxTarget<MailboxKey | MailboxKeys>,
  accountGoes: boolean,
): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    with m as (
      update app.mailboxes as m
      set state = 'deleted', version = gen_random_uuid(), updated_at = now(),
        purge_at = now() + make_interval(days => s.deleted_retention_days)
      from app.settings as s
      where ${isTarget(target)} and m.state = 'active' and ${hasVersion(target.precondition)}
      returning m.name, m.domain, m.purge_at
    ), a as (
      update app.accounts as a
      set state = 'deleted', version = gen_random_uuid(), updated_at = now()
      where a.name = any((select array_agg(m.name) from m)::text[])
        and (${accountGoes} or a.authentication = 'password_file')
      returning a.name
    ), event as (${deletionEvents()}), ended as materialized (
      ${endSessionsJobs(sql`m.name || '@' || m.domain`, sql`m, (select count(*) from a) as gone`)}
    )
    select m.name, (select count(*) from ended) from m`.execute(db)
  await draw(db, 'deletes', rows.length)
  return rows.map(({ name }) => name)
}

/**
 * Removes the rows, so that the name is free; with the last mailbox of a deleted domain, the domain too. One on hold
 * stays: a hold that is set meanwhile is waited for with the lock, and one that comes after finds nothing to hold.
 */
export async function purgeMailbox(tx: Tx, target: MailboxTarget, accountGoes: boolean): Promise<void> {
  const domain = await lockDomainOf(tx, target)
  // only there: whatever moves it to another domain was done before this one was held
  const here = { ...target, visible: domain ? [domain.name] : target.visible }
  // in a statement of its own: the next one then sees whether a deletion it waited for took the account along
  await lockMailbox(tx, here, anyState)
  const { rows } = await sql`
    with m as (
      delete from app.mailboxes as m
      where ${isTarget(here)} and not m.hold and ${hasVersion(target.precondition)}
      returning m.name, m.domain, m.id, m.state, m.locked, m.quota_bytes
    ), x as (
      delete from app.addresses as x using m where x.name = m.name and x.domain = m.domain
    ), u as (
      delete from mail.usage as u using m where u.username = m.name || '@' || m.domain
    ), l as (
      delete from mail.last_login as l using m where l.username = m.name || '@' || m.domain
    ), a as (
      delete from app.accounts as a using m
      where a.name = m.name and (${accountGoes} or a.state = 'deleted' or a.authentication = 'password_file')
      returning a.name, a.authentication, a.display_name, a.external_id
    ), ${keptAliasesGo()}, event as (${purgeEvents()})
    select ${removeMailJobs(sql`m.id`, sql`m.name || '@' || m.domain`)} from m`.execute(tx)
  if (rows.length === 0) await refuse(tx, target, anyState)
  if (domain?.state === 'deleted') await removeEmptyDomain(tx, domain.name)
  await draw(tx, 'deletes', 1)
}

interface HeldDomain {
  name: DomainName
  state: 'active' | 'deleted'
}

/**
 * The domain, held where it is deleted. Two last mailboxes purged at once: the second waits here and then sees
 * that it is the last. A live domain is held as a create holds it, so that it is not deleted at this moment; one that
 * is restored between the two statements is held too.
 */
async function lockDomainOf(tx: Tx, target: MailboxTarget): Promise<HeldDomain | undefined> {
  const domain = sql`(select m.domain from app.mailboxes as m where ${isTarget(target)})`
  const live = await sql<HeldDomain>`
    select d.name, d.state from app.domains as d
    where d.name = ${domain} and d.state = 'active' for key share`.execute(tx)
  if (live.rows[0]) return live.rows[0]
  const { rows } = await sql<HeldDomain>`
    select d.name, d.state from app.domains as d where d.name = ${domain} for update`.execute(tx)
  return rows[0]
}

/** With what other addresses it has: the aliases go when the domain goes, and the names that they hold are free. */
async function removeEmptyDomain(tx: Tx, name: DomainName): Promise<void> {
  await sql`
    with d as (
      delete from app.domains as d
      where d.name = ${name} and not exists (select from app.mailboxes as m where m.domain = d.name)
      returning d.name
    ), x as (
      delete from app.addresses as x using d where x.domain = d.name returning x.name, x.holds_name
    ), event as (${insertEvents({
      action: 'domain.purge',
      object: sql`d.name`,
      domain: sql`d.name`,
      before: sql`jsonb_build_object('state', 'deleted')`,
      from: sql`d`,
    })}), ${tokensEnd()}
    delete from app.accounts as a using x where x.holds_name and a.name = x.name and a.state = 'held'`.execute(
    tx,
  )
}

async function refuse(db: Db, target: MailboxTarget, states: MailboxRow['state'][]): Promise<never> {
  const { version, hold } = await getMailbox(db, target, states)
  if (!meets(target.precondition, version)) throw problem('precondition-failed')
  // else one that would do was made since: there was none for the statement
  throw problem(hold ? 'on-hold' : 'mailbox-not-found')
}
