import { type RawBuilder, sql } from 'kysely'
import { type Actor, insertEvents, moment } from '../audit/record.ts'

/** What the mailbox m begins with, and its account a, where that is made with it. */
export function creationEvents(linked: boolean, by?: Actor): RawBuilder<unknown> {
  const made = sql`, 'account', jsonb_build_object('authentication', a.authentication,
    'display_name', a.display_name, 'external_id', a.external_id, 'login_from', ${moment(sql`a.login_from`)},
    'login_until', ${moment(sql`a.login_until`)}, 'password_set', a.password_set_at is not null)`
  return insertEvents({
    action: 'mailbox.create',
    object: sql`m.name || '@' || m.domain`,
    domain: sql`m.domain`,
    after: sql`jsonb_build_object('id', m.id, 'quota_bytes', m.quota_bytes, 'forward_to', m.forward_to,
      'keep_copy', m.keep_copy, 'delivery', m.delivery, 'hold', m.hold ${linked ? sql`` : made})`,
    from: sql`m join a on a.name = m.name`,
    ...(by && { by }),
  })
}

/** What the account (b before, a now) had lay in no domain: its own event, that callers limited to some do not see. */
export function linkedEvents(): RawBuilder<unknown> {
  const had = person('b')
  const given = person('a')
  return insertEvents({
    action: 'account.update',
    object: sql`a.name`,
    domain: null,
    before: sql`app.members_not_in(${had}, ${given})`,
    after: sql`app.members_not_in(${given}, ${had})`,
    from: sql`m join a on a.name = m.name join b on b.name = m.name
      where ${had} is distinct from ${given}`,
  })
}

function person(source: 'a' | 'b'): RawBuilder<unknown> {
  const column = (name: string) => sql.ref(`${source}.${name}`)
  return sql`jsonb_build_object('display_name', ${column('display_name')}, 'external_id', ${column('external_id')},
    'login_from', ${moment(column('login_from'))}, 'login_until', ${moment(column('login_until'))})`
}

/** The sources of these events: m, the mailboxes, and a, those accounts of theirs that went or came along. */
const mailboxes = {
  object: sql`m.name || '@' || m.domain`,
  domain: sql`m.domain`,
  // Every a has its m. FULL, because that is never done by a nested loop, which Postgres would choose for the few rows
  // that it expects of a statement's own changes, and which takes minutes for a domain of 20,000.
  from: sql`m full join a on a.name = m.name`,
}

/** `account` stands beside the other members only where the account changed too. */
function withAccount(members: RawBuilder<unknown>, account: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`${members} || case when a.name is null then '{}' else jsonb_build_object('account', ${account}) end`
}

function state(value: 'active' | 'deleted', purgeAt: RawBuilder<unknown>): RawBuilder<unknown> {
  const account = sql`jsonb_build_object('state', ${value}::text)`
  return withAccount(
    sql`jsonb_build_object('state', ${value}::text, 'purge_at', ${moment(purgeAt)})`,
    account,
  )
}

export function deletionEvents(): RawBuilder<unknown> {
  const before = state('active', sql`null`)
  return insertEvents({
    ...mailboxes,
    action: 'mailbox.delete',
    before,
    after: state('deleted', sql`m.purge_at`),
  })
}

/** m has in `was_purge_at` what it had before. */
export function restoreEvents(): RawBuilder<unknown> {
  const before = state('deleted', sql`m.was_purge_at`)
  return insertEvents({ ...mailboxes, action: 'mailbox.restore', before, after: state('active', sql`null`) })
}

/** m and a have the columns that are named here. */
export function purgeEvents(): RawBuilder<unknown> {
  const members = sql`jsonb_build_object('id', m.id, 'state', m.state, 'locked', m.locked, 'quota_bytes', m.quota_bytes)`
  const account = sql`jsonb_build_object('authentication', a.authentication, 'display_name', a.display_name,
    'external_id', a.external_id)`
  return insertEvents({ ...mailboxes, action: 'mailbox.purge', before: withAccount(members, account) })
}
