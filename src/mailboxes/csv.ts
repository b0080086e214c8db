import type { Columns } from '../exports/csv.ts'
import type { Mailbox } from './schemas.ts'

/**
 * New ones come last: programs may count on the order. `display_name` and `external_id` stand for those of the account;
 * the servers are the same for a whole domain and are left out.
 */
export const mailboxColumns = {
  id: (mailbox) => mailbox.id,
  address: (mailbox) => mailbox.address,
  name: (mailbox) => mailbox.name,
  domain: (mailbox) => mailbox.domain,
  state: (mailbox) => mailbox.state,
  display_name: ({ account }) => account.display_name,
  external_id: ({ account }) => account.external_id,
  authentication: (mailbox) => mailbox.authentication,
  disabled: ({ account }) => account.disabled,
  login_from: ({ account }) => account.login_from,
  login_until: ({ account }) => account.login_until,
  password_set_at: ({ account }) => account.password_set_at,
  locked: (mailbox) => mailbox.locked,
  effective_locked: (mailbox) => mailbox.effective_locked,
  login_blocked_by: (mailbox) => mailbox.login_blocked_by,
  clear_text_username: ({ credentials }) => credentials.clear_text?.username ?? null,
  secure_password_username: ({ credentials }) => credentials.secure_password?.username ?? null,
  secure_password_mechanisms: ({ credentials }) => credentials.secure_password?.mechanisms ?? null,
  quota_bytes: (mailbox) => mailbox.quota_bytes,
  effective_quota_bytes: (mailbox) => mailbox.effective_quota_bytes,
  usage_bytes: ({ usage }) => usage.bytes,
  usage_messages: ({ usage }) => usage.messages,
  usage_updated_at: ({ usage }) => usage.updated_at,
  last_login_at: (mailbox) => mailbox.last_login_at,
  forward_to: (mailbox) => mailbox.forward_to,
  keep_copy: (mailbox) => mailbox.keep_copy,
  delivery: (mailbox) => mailbox.delivery,
  hold: (mailbox) => mailbox.hold,
  purge_at: (mailbox) => mailbox.purge_at,
  created_at: (mailbox) => mailbox.created_at,
  updated_at: (mailbox) => mailbox.updated_at,
} as const satisfies Columns<Mailbox>
