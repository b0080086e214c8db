import { sql } from 'kysely'
import { allowLongStatements, type Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { endSessions, removeMailJobs } from '../jobs/queue.ts'
import { problem, problemAt } from '../problems.ts'
import { assertNoAliasDomains } from './alias-domains.ts'
import type { DomainName } from './name.ts'
import type { DomainDeleteQuery } from './schemas.ts'
import { lockDomain } from './store.ts'

export interface DomainDeletion extends DomainDeleteQuery {
  name: DomainName
  precondition: Precondition
}

/** Set-based, in one transaction; the lock of the domain makes the count stay true. */
export async function deleteDomain(tx: Tx, deletion: DomainDeletion): Promise<void> {
  const { name, purge, accounts } = deletion
  await allowLongStatements(tx)
  const { version } = await lockDomain(tx, name, purge ? ['active', 'deleted'] : ['active'])
  requireVersion(deletion.precondition, version)
  await assertNoAliasDomains(tx, name)
  const { active, deleted } = await countStates(tx, name)
  assertMeant(deletion, active)
  await assertNoneHeld(tx, name)
  const accountsGo = accounts === 'delete'
  if (active > 0) await endSessions(tx, `*@${name}`)
  if (purge || active + deleted === 0) await purgeDomain(tx, name, accountsGo)
  else await setDeleted(tx, name, accountsGo)
}

function assertMeant({ mailboxes, expect }: DomainDeletion, active: number): void {
  if (mailboxes === undefined) {
    if (active > 0)
      throw problem('domain-not-empty', { detail: `The domain has ${active} active mailboxes.` })
    return
  }
  if (expect === undefined) {
    throw problemAt('invalid-request', 'query/expect', 'mailboxes=delete needs expect=<mailbox_count>')
  }
  if (expect !== active) {
    throw problem('count-mismatch', { detail: `The domain has ${active} active mailboxes, not ${expect}.` })
  }
}

/** Nothing of a domain goes while a mailbox of it, in whatever state, is on hold. */
async function assertNoneHeld(tx: Tx, name: DomainName): Promise<void> {
  const held = await tx
    .selectFrom('mailboxes')
    .select('name')
    .where('domain', '=', name)
    .where('hold', '=', true)
    .limit(1)
    .executeTakeFirst()
  if (held) throw problem('on-hold', { conflict: { kind: 'mailbox', address: `${held.name}@${name}` } })
}

async function countStates(tx: Tx, name: DomainName): Promise<{ active: number; deleted: number }> {
  const rows = await tx
    .selectFrom('mailboxes')
    .select(['state', (eb) => eb.fn.countAll<number>().as('count')])
    .where('domain', '=', name)
    .groupBy('state')
    .execute()
  const count = (state: string) => rows.find((row) => row.state === state)?.count ?? 0
  return { active: count('active'), deleted: count('deleted') }
}

/** The domain waits, deleted and restorable, for the last of its mailboxes. */
async function setDeleted(tx: Tx, name: DomainName, accountsGo: boolean): Promise<void> {
  await sql`
    with going as (
      update app.mailboxes as m
      set state = 'deleted', deleted_with_domain = true, version = gen_random_uuid(), updated_at = now(),
        purge_at = now() + make_interval(days => s.deleted_retention_days)
      from app.settings as s
      where m.domain = ${name} and m.state = 'active'
      returning m.name
    )
    update app.accounts as a
    set state = 'deleted', version = gen_random_uuid(), updated_at = now()
    from going
    where a.name = going.name and (${accountsGo} or a.authentication = 'password_file')`.execute(tx)
  await assertNoneHeld(tx, name) // a hold that this one waited for
  await sql`
    update app.domains
    set state = 'deleted', version = gen_random_uuid(), updated_at = now(),
      purge_at = (select max(purge_at) from app.mailboxes where domain = ${name})
    where name = ${name}`.execute(tx)
}

/** Removes the rows of the domain, so that its name and the names of its mailboxes are free at once. */
async function purgeDomain(tx: Tx, name: DomainName, accountsGo: boolean): Promise<void> {
  // in a statement of its own: the next one then sees whether a deletion it waited for took an account along
  await tx.selectFrom('mailboxes').select('name').where('domain', '=', name).forUpdate().execute()
  await assertNoneHeld(tx, name)
  await sql`
    with gone as (
      delete from app.mailboxes where domain = ${name} returning name, id
    ), addresses_gone as (
      delete from app.addresses where domain = ${name} returning name, kind, holds_name
    ), held_gone as (
      delete from app.accounts as a using addresses_gone as x
      where x.kind = 'alias' and x.holds_name and a.name = x.name and a.state = 'held'
    ), usage_gone as (
      delete from mail.usage as u using gone where u.username = gone.name || '@' || ${name}
    ), logins_gone as (
      delete from mail.last_login as l using gone where l.username = gone.name || '@' || ${name}
    ), accounts_gone as (
      delete from app.accounts as a using gone
      where a.name = gone.name and (${accountsGo} or a.state = 'deleted' or a.authentication = 'password_file')
    )
    select ${removeMailJobs(sql`gone.id`, sql`gone.name || '@' || ${name}`)} from gone`.execute(tx)
  await tx.deleteFrom('domains').where('name', '=', name).execute()
}
