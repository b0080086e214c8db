import { sql } from 'kysely'
import type { Authentication } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { type CredentialFacts, type Credentials, toCredentials } from './credentials.ts'
import type { Mailbox } from './schemas.ts'

/** A mailbox with what its account, its domain and the settings add to it. */
export interface MailboxRow extends CredentialFacts {
  id: string
  domain: DomainName
  state: 'active' | 'deleted'
  locked: boolean
  quota_bytes: number | null
  forward_to: string[]
  keep_copy: boolean
  delivery: 'accept' | 'refuse'
  hold: boolean
  purge_at: Date | null
  version: string
  created_at: Date
  updated_at: Date
  authentication: Authentication
  disabled: boolean
  login_from: Date | null
  login_until: Date | null
  /** Both by the clock of the database, as the mail servers judge it. */
  not_yet: boolean
  expired: boolean
  display_name: string | null
  external_id: string | null
  domain_locked: boolean
  effective_quota_bytes: number
  usage_bytes: number | null
  usage_messages: number | null
  usage_updated_at: Date | null
  last_login_at: Date | null
}

/** What people of the domain d are told of the mail servers, by the settings s. */
export const serverColumns = sql`
  coalesce(d.mail_server, s.mail_server, 'localhost') as mail_server,
  coalesce(s.pop3s_port, 995) as pop3s_port,
  coalesce(s.imaps_port, 993) as imaps_port,
  coalesce(s.submission_port, 587) as submission_port,
  s.require_secure_password`

/** The columns of MailboxRow, over the sources m (mailboxes), a (accounts), d (domains), s (settings), u and l. */
export const viewColumns = sql`
  m.name || '@' || m.domain as address, m.id, m.name, m.domain, m.state, m.locked, m.quota_bytes,
  m.forward_to, m.keep_copy, m.delivery, m.hold, m.purge_at, m.version, m.created_at, m.updated_at,
  a.authentication, a.mechanisms, a.disabled, a.display_name, a.external_id, a.password_set_at,
  a.login_from, a.login_until, coalesce(a.login_from > now(), false) as not_yet,
  coalesce(a.login_until <= now(), false) as expired,
  d.locked as domain_locked,
  coalesce(m.quota_bytes, d.default_quota_bytes, s.default_quota_bytes) as effective_quota_bytes,
  coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as listed_mechanisms,
  ${serverColumns},
  u.bytes as usage_bytes, u.messages as usage_messages, u.updated_at as usage_updated_at,
  to_timestamp(l.at_epoch) as last_login_at`

/** What the mail servers have written down about m: how much it holds (u) and when somebody last logged in (l). */
const usageJoins = sql`
  left join mail.usage as u on u.username = m.name || '@' || m.domain
  left join mail.last_login as l on l.username = m.name || '@' || m.domain`

/**
 * What stands beside a source m of mailboxes, each found by its key: without `offset 0` the planner may walk through all
 * accounts in the order of the page instead.
 */
export const viewJoins = sql`
  cross join lateral (select a.* from app.accounts as a where a.name = m.name offset 0) as a
  cross join lateral (select d.* from app.domains as d where d.name = m.domain offset 0) as d
  cross join app.settings as s
  ${usageJoins}`

/** The columns of a mailbox that a writing statement has to return for `viewColumns`. */
export const writtenColumns = sql`
  m.name, m.domain, m.id, m.state, m.locked, m.quota_bytes, m.forward_to, m.keep_copy, m.delivery, m.hold, m.purge_at,
  m.version, m.created_at, m.updated_at`

export function toMailbox(row: MailboxRow): Mailbox {
  const credentials = toCredentials(row)
  return {
    id: row.id,
    address: row.address,
    name: row.name,
    domain: row.domain,
    account: {
      name: row.name,
      disabled: row.disabled,
      login_from: row.login_from,
      login_until: row.login_until,
      display_name: row.display_name,
      external_id: row.external_id,
      password_set_at: row.password_set_at,
    },
    authentication: row.authentication,
    locked: row.locked,
    effective_locked: row.locked || row.domain_locked,
    login_blocked_by: blockedBy(row, credentials),
    quota_bytes: row.quota_bytes,
    effective_quota_bytes: row.effective_quota_bytes,
    forward_to: row.forward_to,
    keep_copy: row.keep_copy,
    delivery: row.delivery,
    hold: row.hold,
    usage: {
      bytes: row.usage_bytes ?? 0,
      messages: row.usage_messages ?? 0,
      updated_at: row.usage_updated_at,
    },
    last_login_at: row.last_login_at,
    state: row.state,
    purge_at: row.purge_at,
    credentials,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}

function blockedBy(
  row: MailboxRow,
  { clear_text, secure_password }: Credentials,
): Mailbox['login_blocked_by'] {
  const hasPassword = row.password_set_at !== null
  const reasons = {
    mailbox: row.locked,
    domain: row.domain_locked,
    account: row.disabled,
    'not-yet': row.not_yet,
    expired: row.expired,
    'no-password': !hasPassword,
    'no-login-form': hasPassword && clear_text === null && secure_password === null,
    deleted: row.state === 'deleted',
  }
  return Object.entries(reasons).flatMap(([reason, holds]) => (holds ? [reason as keyof typeof reasons] : []))
}
