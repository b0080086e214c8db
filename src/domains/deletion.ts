import { sql } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import { allowLongStatements, planForAnySize, type Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { endSessions, removeMailJobs } from '../jobs/queue.ts'
import { deletionEvents, purgeEvents } from '../mailboxes/events.ts'
import { keptAliasesGo } from '../mailboxes/kept-aliases.ts'
import { problem, problemAt } from '../problems.ts'
import { tokensEnd } from '../tokens/end-with-domain.ts'
import { draw, isLimited } from '../tokens/fuses.ts'
import { assertNoAliasDomains } from './alias-domains.ts'
import type { DomainName } from './name.ts'
import type { DomainDeleteQuery } from './schemas.ts'
import { type DomainRow, lockDomain } from './store.ts'

export interface DomainDeletion extends DomainDeleteQuery {
  name: DomainName
  precondition: Precondition
}

/** Set-based, in one transaction; the lock of the domain makes the count stay true. */
export async function deleteDomain(tx: Tx, deletion: DomainDeletion): Promise<void> {
  const { name, purge, accounts } = deletion
  await allowLongStatements(tx)
  const domain = await lockDomain(tx, name, purge ? ['active', 'deleted'] : ['active'])
  requireVersion(deletion.precondition, domain.version)
  await assertNoAliasDomains(tx, name)
  const { active, deleted } = await countStates(tx, name)
  assertMeant(deletion, active)
  await assertNoneHeld(tx, name)
  const accountsGo = accounts === 'delete'
  if (active > 0) await endSessions(tx, `*@${name}`)
  const aliases = isLimited('deletes') ? await countAliases(tx, name) : 0
  const mailboxes =
    purge || active + deleted === 0
      ? await purgeDomain(tx, domain, accountsGo)
      : await setDeleted(tx, name, accountsGo)
  await draw(tx, 'deletes', Math.max(1, mailboxes + aliases))
}

async function countAliases(tx: Tx, name: DomainName): Promise<number> {
  const { count } = await tx
    .selectFrom('aliases')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('domain', '=', name)
    .executeTakeFirstOrThrow()
  return count
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

/** The domain waits, deleted and restorable, for the last of its mailboxes. How many go is returned. */
async function setDeleted(tx: Tx, name: DomainName, accountsGo: boolean): Promise<number> {
  const going = await sql<Counts>`
    with m as (
      update app.mailboxes as m
      set state = 'deleted', deleted_with_domain = true, version = gen_random_uuid(), updated_at = now(),
        purge_at = now() + make_interval(days => s.deleted_retention_days)
      from app.settings as s
      where m.domain = ${name} and m.state = 'active'
      returning m.name, m.domain, m.purge_at
    ), a as (
      update app.accounts as a
      set state = 'deleted', version = gen_random_uuid(), updated_at = now()
      from m
      where a.name = m.name and (${accountsGo} or a.authentication = 'password_file')
      returning a.name
    ), event as (${deletionEvents()})
    select (select count(*) from m) as mailboxes, (select count(*) from a) as accounts`.execute(tx)
  await assertNoneHeld(tx, name) // a hold that this one waited for
  const { rows } = await sql<Pick<DomainRow, 'state' | 'purge_at'>>`
    update app.domains
    set state = 'deleted', version = gen_random_uuid(), updated_at = now(),
      purge_at = (select max(purge_at) from app.mailboxes where domain = ${name})
    where name = ${name}
    returning state, purge_at`.execute(tx)
  await recordEvent(tx, {
    action: 'domain.delete',
    object: name,
    domain: name,
    before: { state: 'active', purge_at: null },
    after: { ...rows[0], ...going.rows[0] },
  })
  return going.rows[0]!.mailboxes
}

interface Counts {
  mailboxes: number
  accounts: number
}

/** Removes the rows of the domain, so that its name and the names of its mailboxes are free at once. */
async function purgeDomain(tx: Tx, domain: DomainRow, accountsGo: boolean): Promise<number> {
  const { name, version: _, updated_at: __, ...was } = domain
  await planForAnySize(tx)
  // in a statement of its own: the next one then sees whether a deletion it waited for took an account along
  await tx.selectFrom('mailboxes').select('name').where('domain', '=', name).forUpdate().execute()
  await assertNoneHeld(tx, name)
  const { rows } = await sql<{ accounts: number }>`
    with m as (
      delete from app.mailboxes where domain = ${name} returning name, domain, id, state, locked, quota_bytes
    ), addresses_gone as (
      delete from app.addresses where domain = ${name} returning name, kind, holds_name
    ), held_gone as (
      delete from app.accounts as a using addresses_gone as x
      where x.kind = 'alias' and x.holds_name and a.name = x.name and a.state = 'held'
    ), usage_gone as (
      delete from mail.usage as u using m where u.username = m.name || '@' || ${name}
    ), logins_gone as (
      delete from mail.last_login as l using m where l.username = m.name || '@' || ${name}
    ), a as (
      delete from app.accounts as a using m
      where a.name = m.name and (${accountsGo} or a.state = 'deleted' or a.authentication = 'password_file')
      returning a.name, a.authentication, a.display_name, a.external_id
    ), ${keptAliasesGo(sql`x.domain <> m.domain`)}, event as (${purgeEvents()})
    select ${removeMailJobs(sql`m.id`, sql`m.name || '@' || m.domain`)}, (select count(*) from a) as accounts
    from m`.execute(tx)
  await sql`
    with d as (delete from app.domains as d where d.name = ${name} returning d.name), ${tokensEnd()}
    select from d`.execute(tx)
  const counts: Counts = { mailboxes: rows.length, accounts: rows[0]?.accounts ?? 0 }
  await recordEvent(tx, { action: 'domain.purge', object: name, domain: name, before: { ...was, ...counts } })
  return counts.mailboxes
}
