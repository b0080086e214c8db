import type { Columns } from '../exports/csv.ts'
import type { Account } from './schemas.ts'

/** New ones come last: programs may count on the order. */
export const accountColumns = {
  name: (account) => account.name,
  mailbox: (account) => account.mailbox,
  display_name: (account) => account.display_name,
  external_id: (account) => account.external_id,
  authentication: (account) => account.authentication,
  disabled: (account) => account.disabled,
  login_from: (account) => account.login_from,
  login_until: (account) => account.login_until,
  password_set_at: (account) => account.password_set_at,
  created_at: (account) => account.created_at,
  updated_at: (account) => account.updated_at,
  password_scheme: (account) => account.password_scheme,
} as const satisfies Columns<Account>
