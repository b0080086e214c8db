import { type RawBuilder, sql } from 'kysely'
import type { PersonMembers } from '../accounts/create.ts'
import { foreignSchemeOf, isKept, listedOf, setAt, verifierRows } from '../accounts/verifier-rows.ts'
import type { Verifier } from '../accounts/verifiers.ts'
import { type Actor, actor } from '../audit/record.ts'
import type { Authentication, Db, Tx } from '../database.ts'
import { countMailboxes } from '../domains/mailbox-counts.ts'
import { type DomainRow, findDomainForUpdate } from '../domains/store.ts'
import { endLoginsJob } from '../jobs/queue.ts'
import { prepare, runPrepared } from '../prepared.ts'
import type { Address } from './address.ts'
import { creationEvents, linkedEvents } from './events.ts'
import { assertWithinLimit } from './ground.ts'
import { givenColumns, type MailboxValues } from './values.ts'
import { type MailboxRow, viewColumns, writtenColumns } from './view.ts'

export interface NewMailbox {
  address: Address
  values: MailboxValues
  /** What is left out is as it is, where the account exists already. */
  person: PersonMembers
  /** How the account comes to be: made here, or there already (and of this authentication, where one is named). */
  account:
    | { authentication: Authentication; verifiers: Verifier[] }
    | { linked: true; authentication: Authentication | undefined }
}

/**
 * One statement, one round trip: the domain, the address, the mailbox, the account and its verifiers.
 * undefined where the domain is not there, is an alias or has a limit, or the account to link is not there. A taken name
 * is a violation of addresses_pkey, addresses_name_key, mailboxes_pkey or accounts_pkey.
 */
export async function insertMailbox(db: Db, mailbox: NewMailbox): Promise<MailboxRow | undefined> {
  if (isPlainlyLinked(mailbox)) return (await insertLinked(db, { ...namesOf(mailbox), ...actor() }))[0]
  const insert = insertion(mailbox, withoutLimit)
  const rows = isPlainlyNew(mailbox)
    ? await runPrepared(db, 'insert-mailbox', insert)
    : (await insert.execute(db)).rows
  return rows[0]
}

const withoutLimit = sql`and d.mailbox_limit is null`

/** What the statement is made of. */
type Insertion = Omit<NewMailbox, 'address'> & { address: Pick<Address, 'name' | 'domain'> }

type PlainlyLinked = NewMailbox & { account: { linked: true; authentication: Authentication | undefined } }

/** Nothing but a mailbox for an account that is there: what an onboarding of many does again and again. */
function isPlainlyLinked(mailbox: NewMailbox): mailbox is PlainlyLinked {
  const { account, values } = mailbox
  return 'linked' in account && givenColumns(values).length === 0 && !changesPerson(mailbox)
}

/** One with its account, with a password or without: what else may be given makes too many shapes to prepare them all. */
function isPlainlyNew({ account, values, person }: NewMailbox): boolean {
  return !('linked' in account) && givenColumns(values).length === 0 && !person.login_until
}

function namesOf({ address: { name, domain }, account }: PlainlyLinked) {
  return { name, domain, authentication: account.authentication ?? null }
}

type LinkedValues = Pick<Address, 'name' | 'domain'> & Actor & { authentication: Authentication | null }

const insertLinked = prepare<LinkedValues, MailboxRow>('insert-linked-mailbox', (values) => {
  const { name, domain, authentication, subject, issuer, tokenId, address, requestId } = values
  const account = { linked: true as const, authentication: authentication ?? undefined }
  const by = { subject, issuer, tokenId, address, requestId }
  return insertion({ address: { name, domain }, values: {}, person: {}, account }, withoutLimit, by)
})

/**
 * The same where the domain has a limit: its row is locked in one statement and the mailboxes are counted in
 * the next, whose snapshot then has every create that came before.
 */
export async function insertWithinLimit(tx: Tx, mailbox: NewMailbox): Promise<MailboxRow | undefined> {
  const locked = await findDomainForUpdate(tx, mailbox.address.domain)
  if (!locked) return undefined
  await assertRoom(tx, locked)
  return (await insertion(mailbox, sql``).execute(tx)).rows[0]
}

/** Whether the domain may have one mailbox more; its row is locked, in a statement of its own. */
export async function assertRoom(tx: Tx, { name, mailbox_limit }: DomainRow): Promise<void> {
  if (mailbox_limit === null) return
  const counts = await countMailboxes(tx, [name])
  assertWithinLimit(mailbox_limit, counts.get(name) ?? 0)
}

// FOR KEY SHARE makes the deletion of the domain, which locks its row FOR UPDATE, wait for this create or
// this create for it: no live mailbox comes to be in a deleted domain.
function insertion(mailbox: Insertion, limit: RawBuilder<unknown>, by?: Actor): RawBuilder<MailboxRow> {
  const { address, values, account } = mailbox
  const given = givenColumns(values)
  const linked = 'linked' in account
  const ends = Boolean(mailbox.person.login_until)
  return sql<MailboxRow>`
    with d as (
      select d.name, d.locked, d.default_quota_bytes, d.secure_password_mechanisms, d.mail_server
      from app.domains as d
      where d.name = ${address.domain} and d.state = 'active' and d.alias_of is null ${limit}
      for key share
    ), ${linked ? linkedAccount(mailbox) : sql``} ad as (
      insert into app.addresses (name, domain, kind, holds_name)
      select ${address.name}, d.name, 'mailbox', true from d ${linked ? sql`cross join a` : sql``}
      returning name, domain
    ), m as (
      insert into app.mailboxes as m (${sql.join([sql`name, domain`, ...given.map(({ column }) => column)])})
      select ${sql.join([sql`ad.name, ad.domain`, ...given.map(({ value }) => value)])} from ad
      returning ${writtenColumns}
    ) ${linked ? sql`` : newAccount(mailbox)}, created as (${creationEvents(linked, by)})
    ${changesPerson(mailbox) ? sql`, changed as (${linkedEvents()})` : sql``} ${ends ? endingLogins : sql``}
    select ${viewColumns} ${ends ? sql`, (select count(*) from ending)` : sql``}
    from m join a on a.name = m.name join d on d.name = m.domain cross join app.settings as s ${noUsage}`
}

/** Of what is only made here the mail servers have written nothing down, and probes for it were a tenth of a create. */
const noUsage = sql`
    cross join (select null::bigint as bytes, null::bigint as messages, null::timestamptz as updated_at) as u
    cross join (select null::bigint as at_epoch) as l`

const endingLogins = sql`, ending as materialized (
      select ${endLoginsJob(sql`a.name`, sql`a.login_until`)} from a join m on m.name = a.name
    )`

/** Of an account that was there already. */
function changesPerson({ account, person }: Insertion): boolean {
  return 'linked' in account && Object.values(person).some((value) => value !== undefined)
}

function newAccount({ account, person }: Insertion): RawBuilder<unknown> {
  if ('linked' in account) throw new TypeError('the account is there already')
  const { authentication, verifiers } = account
  const { display_name = null, external_id = null, login_from = null, login_until = null } = person
  return sql`, a as (
      insert into app.accounts
        (name, authentication, mechanisms, foreign_scheme, display_name, external_id, login_from, login_until, password_set_at)
      select m.name, ${authentication}, ${listedOf(verifiers, sql`coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms)`)},
        ${foreignSchemeOf(verifiers)}, ${display_name}, ${external_id}, ${login_from}::timestamptz, ${login_until}::timestamptz, ${setAt(verifiers)}
      from m cross join d cross join app.settings as s
      returning ${accountColumns(sql``)}
    ), v as (
      insert into app.verifiers (name, mechanism, scheme, verifier)
      select a.name, v.mechanism, v.scheme, v.verifier from a join ${verifierRows(verifiers)} on ${isKept}
    )`
}

/** Those of an account that `viewColumns` reads. */
function accountColumns(of: RawBuilder<unknown>): RawBuilder<unknown> {
  const names = [
    'name',
    'authentication',
    'mechanisms',
    'disabled',
    'display_name',
    'external_id',
    'login_from',
    'login_until',
    'password_set_at',
  ]
  return sql.join(names.map((name) => sql`${of}${sql.raw(name)}`))
}

function linkedAccount(mailbox: Insertion): RawBuilder<unknown> {
  const { address, account, person } = mailbox
  const { authentication = null } = account
  const wanted = sql`
        where a.name = ${address.name} and a.state = 'active' and (${authentication}::text is null or a.authentication = ${authentication})`
  const columns = accountColumns(sql`a.`)
  const given = Object.entries(person).filter(([, value]) => value !== undefined)
  if (given.length === 0) {
    return sql`a as (select ${columns} from app.accounts as a ${wanted}),`
  }
  return sql`b as (
      select a.name, a.display_name, a.external_id, a.login_from, a.login_until
      from d cross join app.accounts as a -- so that nothing is changed where the domain refuses the mailbox
      ${wanted}
      for update of a
    ), a as (
      update app.accounts as a
      set ${sql.join(given.map(([name, value]) => sql`${sql.raw(name)} = ${value}`))},
        version = gen_random_uuid(), updated_at = now()
      from b
      where a.name = b.name
      returning ${columns}
    ),`
}
