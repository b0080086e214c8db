import { sql } from 'kysely'
import type { Authentication, Db } from '../database.ts'
import { type Conflict, problem } from '../problems.ts'
import type { AccountName } from './name.ts'
import type { Mechanism } from './verifiers.ts'

export interface AccountGround {
  authentication: Authentication
  secure_password_mechanisms: Mechanism[]
  scram_iterations: number
  local_name_max_length: number
  password_min_length: number
  state: 'active' | 'deleted' | 'held' | null
  mailbox: string | null
  purge_at: Date | null
}

/** The settings and whoever holds the name, in one round trip. */
export async function lookUpAccountGround(db: Db, name: AccountName): Promise<AccountGround> {
  const { rows } = await sql<AccountGround>`
    select s.authentication, s.secure_password_mechanisms, s.scram_iterations, s.local_name_max_length,
      s.password_min_length, a.state, m.name || '@' || m.domain as mailbox, m.purge_at
    from app.settings as s
      left join app.accounts as a on a.name = ${name}
      left join app.mailboxes as m on m.name = ${name}`.execute(db)
  return rows[0]!
}

/** Refuses a name that another account has, in any state. */
export function assertNameFree(name: AccountName, { state, mailbox, purge_at }: AccountGround): void {
  if (state === null) return
  const account: Conflict = { kind: 'account', address: name }
  if (state === 'active') throw problem('account-exists', { conflict: account })
  if (mailbox === null) throw problem('name-taken', { conflict: account })
  throw problem('mailbox-deleted', { conflict: { kind: 'mailbox', address: mailbox, purge_at } })
}
