import {
  type ColumnType,
  type Generated,
  type GeneratedAlways,
  Kysely,
  PostgresDialect,
  sql,
  type Transaction,
} from 'kysely'
import pg from 'pg'
import type { AccountName } from './accounts/name.ts'
import type { Mechanism } from './accounts/verifiers.ts'
import type { DomainName } from './domains/name.ts'

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
  disabled: Generated<boolean>
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
  purge_at: Date | null
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

interface PasswordChecksTable {
  account: Buffer
  found: boolean
  full_at: Date
}

/** The tables of the schema `app` that the service's role may read (migrations/). */
export interface Database {
  settings: SettingsTable
  domains: DomainsTable
  accounts: AccountsTable
  addresses: AddressesTable
  mailboxes: MailboxesTable
  idempotency_keys: IdempotencyKeysTable
  password_checks: PasswordChecksTable
}

export type Db = Kysely<Database>
export type Tx = Transaction<Database>

const int8 = 20
/** bigint arrives as text; every bigint column is checked to be at most 2^53 - 1. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

export interface DatabaseOptions {
  /** Connections at most; every request holds one only for its statements. */
  poolSize?: number
  onIdleError?: (error: Error) => void
}

/**
 * For a transaction that changes a whole domain, or every account, in one statement: at a million rows that takes
 * longer than any other statement may.
 */
export async function allowLongStatements(tx: Tx): Promise<void> {
  await sql`set local statement_timeout = '15min'`.execute(tx)
}

/**
 * Opens a pool. A statement that runs longer than 15 s, or waits longer than 10 s for a lock, or a
 * transaction left idle for 15 s, is ended by Postgres, so that one bad request cannot hold up the others;
 * a connection that cannot be had within 5 s is a 503.
 */
export function openDatabase(
  url: string,
  { poolSize = 20, onIdleError = () => {} }: DatabaseOptions = {},
): Db {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: 15_000,
    lock_timeout: 10_000,
    idle_in_transaction_session_timeout: 15_000,
    application_name: 'mailwright',
    keepAlive: true,
    types,
  })
  pool.on('error', onIdleError) // an idle connection that Postgres closed; the pool opens another
  // The loss of one in use reaches its statement; unheard as an event it would end the process.
  pool.on('connect', (client) => client.on('error', () => {}))
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }).withSchema('app')
}
