import type { ColumnType, Generated, GeneratedAlways, Selectable } from 'kysely'
import type { AccountName } from './accounts/name.ts'
import type { ForeignScheme, Mechanism } from './accounts/verifiers.ts'
import type { Action, Kind } from './audit/actions.ts'
import type { DomainName } from './domains/name.ts'
import type { Scope } from './scopes.ts'
import type { Fuse } from './tokens/limits.ts'

export type Authentication = 'local' | 'password_file' | 'active_directory'

interface SettingsTable {
  singleton: GeneratedAlways<boolean>
  installation: string | null
  mail_server: string | null
  pop3s_port: number | null
  imaps_port: number | null
  submission_port: number | null
  relay_networks: Generated<string[]>
  postmaster_address: string | null
  authentication: Authentication
  create_account_default: boolean
  secure_password_mechanisms: Mechanism[]
  require_secure_password: boolean
  scram_iterations: number
  local_name_max_length: number
  password_min_length: number
  default_quota_bytes: number
  deleted_retention_days: number
  forward_allowed_domains: DomainName[] | null
  tokens_not_before: Date | null
  version: string
  updated_at: Date
}

interface DomainsTable {
  name: DomainName
  state: Generated<'active' | 'deleted'>
  locked: Generated<boolean>
  authentication: Authentication | null
  secure_password_mechanisms: Mechanism[] | null
  mail_server: string | null
  postmaster_address: string | null
  mailbox_limit: number | null
  default_quota_bytes: number | null
  accepts_mail: Generated<boolean>
  alias_of: DomainName | null
  is_alias: GeneratedAlways<boolean>
  purge_at: Date | null
  version: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface AccountsTable {
  name: AccountName
  state: Generated<'active' | 'deleted' | 'held'>
  authentication: Authentication
  mechanisms: Generated<Mechanism[]>
  foreign_scheme: ForeignScheme | null
  disabled: Generated<boolean>
  login_from: Date | null
  login_until: Date | null
  display_name: string | null
  external_id: string | null
  password_set_at: Date | null
  version: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface AddressesTable {
  name: AccountName
  domain: DomainName
  kind: 'mailbox' | 'alias'
  holds_name: boolean
}

interface MailboxesTable {
  name: AccountName
  id: Generated<string>
  domain: DomainName
  kind: Generated<'mailbox'>
  state: Generated<'active' | 'deleted'>
  deleted_with_domain: Generated<boolean>
  locked: Generated<boolean>
  quota_bytes: number | null
  forward_to: Generated<string[]>
  forwarded: Generated<string[]>
  keep_copy: Generated<boolean>
  delivery: Generated<'accept' | 'refuse'>
  hold: Generated<boolean>
  purge_at: Date | null
  version: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface AliasesTable {
  /** Empty: the catch-all of its domain. */
  name: AccountName
  domain: DomainName
  kind: Generated<'alias'>
  targets: string[]
  forwarded: Generated<string[]>
  send_as: Generated<boolean>
  version: Generated<string>
  created_at: Generated<Date>
  updated_at: Generated<Date>
}

interface IdempotencyKeysTable {
  issuer: string
  subject: string
  key: string
  fingerprint: Buffer
  status: number
  etag: string | null
  location: string | null
  body: ColumnType<object, string>
  created_at: Generated<Date>
}

interface AuditEventsTable {
  name: string
  at: GeneratedAlways<Date>
  id: GeneratedAlways<string>
  action: Action
  kind: Kind
  object: string
  domain: string | null
  level: 'info' | 'alert'
  subject: string | null
  issuer: string | null
  token_id: string | null
  address: string | null
  request_id: string | null
  before: object | null
  after: object | null
}

interface TokensTable {
  id: string
  parent: string | null
  ancestors: string[]
  label: string
  scopes: Scope[]
  domains: ['*'] | DomainName[]
  allowed_ips: string[] | null
  password_delivery: 'any' | 'sealed'
  deletes_per_day: number | null
  locks_per_day: number | null
  password_sets_per_day: number | null
  created_by: string
  created_at: Date
  expires_at: Date
  revoked_at: Date | null
  last_used_at: Date | null
  version: Generated<string>
}

interface TokenFusesTable {
  token: string
  kind: Fuse
  /** Only compared in SQL. */
  day: string
  count: number
  allowed: number
  blown_at: Date | null
}

type TokenStatesView = Selectable<TokensTable> & { state: 'active' | 'revoked' | 'expired' }

interface PasswordChecksTable {
  account: Buffer
  found: boolean
  full_at: Date
}

interface ImportsTable {
  id: Generated<string>
  state: Generated<'receiving' | 'queued' | 'running' | 'completed' | 'failed' | 'cancelled'>
  dry_run: boolean
  on_error: 'continue' | 'stop'
  subject: string
  issuer: string
  token_id: string | null
  payer_issuer: string
  payer_id: string
  stored_token: string | null
  scopes: Scope[]
  domains: string[]
  password_delivery: 'sealed' | null
  address: string | null
  request_id: string
  rows: Generated<number>
  last_line: Generated<number>
  done_line: Generated<number>
  counts: ColumnType<Record<string, number>, string, string>
  problem: ColumnType<object | null, string | null, string | null>
  cleared: Generated<boolean>
  worker: string | null
  leased_until: Date | null
  created_at: Generated<Date>
  started_at: Date | null
  finished_at: Date | null
}

interface ImportRowsTable {
  import: string
  line: number
  operation: string
  address: string
  content: string | null
  sealed: string | null
  names: string[] | null
  status: RowStatus | null
  clear_text: string | null
  secure_password: string | null
  problem: ColumnType<object | null, string | null, string | null>
}

export type RowStatus = 'created' | 'updated' | 'unchanged' | 'deleted' | 'restored' | 'renamed' | 'failed'

/** The tables of the schema `app` that the service's role may read (migrations/). */
export interface Database {
  settings: SettingsTable
  domains: DomainsTable
  accounts: AccountsTable
  addresses: AddressesTable
  mailboxes: MailboxesTable
  aliases: AliasesTable
  idempotency_keys: IdempotencyKeysTable
  audit_events: AuditEventsTable
  tokens: TokensTable
  token_states: TokenStatesView
  token_fuses: TokenFusesTable
  password_checks: PasswordChecksTable
  imports: ImportsTable
  import_rows: ImportRowsTable
}
