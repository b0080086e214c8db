import { sql } from 'kysely'
import { foreignSchemeOf, isKept, mechanismsOf } from '../accounts/verifier-rows.ts'
import type { Verifier } from '../accounts/verifiers.ts'
import { type Authentication, type Db, withHashJoins } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { endLoginsJob } from '../jobs/queue.ts'
import type { LoginFacts } from './credentials.ts'
import { creationEvents } from './events.ts'
import type { NewMailbox } from './insert.ts'
import { writtenColumns } from './view.ts'

/** One that comes with its account, and sends its mail on to nobody. */
export type NewMailboxWithAccount = NewMailbox & {
  account: { authentication: Authentication; verifiers: Verifier[] }
}

/**
 * What `insertMailbox` does, for many in one statement; how to log in to those that were made. The others are taken, or
 * their domain is not there any more, or has a limit and is not held. Rejects where an account gets a name meanwhile.
 * `sent` is called with the statement on its way, which takes Postgres a while.
 */
export async function insertMailboxes(
  db: Db,
  mailboxes: readonly NewMailboxWithAccount[],
  held: readonly DomainName[],
  sent: () => void,
): Promise<LoginFacts[]> {
  if (mailboxes.length === 0) return []
  const verifiers = mailboxes.flatMap(({ address: { name }, account }) =>
    account.verifiers.map(({ mechanism, scheme = null, verifier }) => ({
      name,
      mechanism,
      scheme,
      verifier,
    })),
  )
  const column = (member: 'name' | 'mechanism' | 'scheme' | 'verifier') => verifiers.map((one) => one[member])
  const domains = new Set(mailboxes.map(({ address }) => address.domain))
  const insertion = sql<LoginFacts>`
    with r as materialized (
      select * from json_to_recordset(${JSON.stringify(mailboxes.map(toRecord))}::json) as r (
        name text, domain text, quota_bytes bigint, keep_copy boolean, delivery text, hold boolean, authentication text,
        mechanisms text[], foreign_scheme text, display_name text, external_id text, login_from timestamptz,
        login_until timestamptz, has_password boolean
      )
    ), d as (
      select d.name, d.secure_password_mechanisms
      from app.domains as d
      where d.name = any (${[...domains]}::text[]) and d.state = 'active' and d.alias_of is null
        and (d.mailbox_limit is null or d.name = any (${held}::text[]))
      order by d.name
      for key share
    ), ad as (
      insert into app.addresses (name, domain, kind, holds_name)
      select r.name, d.name, 'mailbox', true from r join d on d.name = r.domain
      where not exists (select from app.accounts as o where o.name = r.name offset 0) -- for each by its key
      order by r.name
      on conflict do nothing
      returning name, domain
    ), m as (
      insert into app.mailboxes as m (name, domain, quota_bytes, keep_copy, delivery, hold)
      select ad.name, ad.domain, r.quota_bytes, r.keep_copy, r.delivery, r.hold from ad join r on r.name = ad.name
      returning ${writtenColumns}
    ), a as (
      insert into app.accounts
        (name, authentication, mechanisms, foreign_scheme, display_name, external_id, login_from, login_until, password_set_at)
      select m.name, r.authentication,
        array(
          select k from unnest(r.mechanisms) as k
          where k = any (coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms))
        ),
        r.foreign_scheme, r.display_name, r.external_id, r.login_from, r.login_until,
        case when r.has_password then now() end
      from m join r on r.name = m.name join d on d.name = m.domain cross join app.settings as s
      returning name, authentication, mechanisms, display_name, external_id, login_from, login_until, password_set_at
    ), v as (
      insert into app.verifiers (name, mechanism, scheme, verifier)
      select a.name, v.mechanism, v.scheme, v.verifier
      from a join unnest(
        ${column('name')}::text[], ${column('mechanism')}::text[], ${column('scheme')}::text[], ${column('verifier')}::text[]
      ) as v (name, mechanism, scheme, verifier) on v.name = a.name and ${isKept}
    ), created as (${creationEvents(false)})
    select m.name || '@' || m.domain as address, m.name, a.password_set_at, a.mechanisms, s.require_secure_password,
      coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as listed_mechanisms
    from m join a on a.name = m.name join d on d.name = m.domain cross join app.settings as s`
  const { rows } = await withHashJoins(db, () => {
    const inserting = insertion.execute(db)
    sent()
    return inserting
  })
  await endLoginsOf(db, mailboxes, rows)
  return rows
}

/** Of those that were made; by itself, since the queue's own statements are not to be planned as the one before. */
async function endLoginsOf(
  db: Db,
  mailboxes: readonly NewMailboxWithAccount[],
  made: readonly LoginFacts[],
): Promise<void> {
  const names = new Set(made.map(({ name }) => name))
  const ending = mailboxes.filter(({ address, person }) => person.login_until && names.has(address.name))
  if (ending.length === 0) return
  await sql`
    select ${endLoginsJob(sql`x.name`, sql`x.at`)}
    from unnest(
      ${ending.map(({ address }) => address.name)}::text[], ${ending.map(({ person }) => person.login_until)}::timestamptz[]
    ) as x (name, at)`.execute(db)
}

function toRecord({ address, values, person, account }: NewMailboxWithAccount) {
  const { verifiers } = account
  return {
    name: address.name,
    domain: address.domain,
    quota_bytes: values.quota_bytes ?? null,
    keep_copy: values.keep_copy ?? true,
    delivery: values.delivery ?? 'accept',
    hold: values.hold ?? false,
    authentication: account.authentication,
    mechanisms: mechanismsOf(verifiers),
    foreign_scheme: foreignSchemeOf(verifiers),
    ...person,
    has_password: verifiers.length > 0,
  }
}
