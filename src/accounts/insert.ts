import { sql } from 'kysely'
import { insertEvents, moment } from '../audit/record.ts'
import type { Authentication, Db } from '../database.ts'
import { endLoginsJob } from '../jobs/queue.ts'
import type { AccountName } from './name.ts'
import type { AccountRow } from './store.ts'
import { isKept, listedOf, setAt, verifierRows } from './verifier-rows.ts'
import type { Verifier } from './verifiers.ts'

export interface NewAccount {
  name: AccountName
  authentication: Authentication
  display_name: string | null
  external_id: string | null
  login_from: Date | null
  login_until: Date | null
  verifiers: Verifier[]
}

/** One statement. undefined where the name was taken meanwhile. */
export async function insertAccount(db: Db, account: NewAccount): Promise<AccountRow | undefined> {
  const { name, authentication, display_name, external_id, login_from, login_until, verifiers } = account
  const { rows } = await sql<AccountRow>`
    with a as (
      insert into app.accounts
        (name, authentication, mechanisms, display_name, external_id, login_from, login_until, password_set_at)
      select ${name}, ${authentication}, ${listedOf(verifiers, sql`s.secure_password_mechanisms`)}, ${display_name}, ${external_id},
        ${login_from}::timestamptz, ${login_until}::timestamptz, ${setAt(verifiers)}
      from app.settings as s
      on conflict on constraint accounts_pkey do nothing
      returning *
    ), v as (
      insert into app.verifiers (name, mechanism, verifier)
      select a.name, v.mechanism, v.verifier from a join ${verifierRows(verifiers)} on ${isKept}
    ), ending as materialized (
      select ${endLoginsJob(sql`a.name`, sql`a.login_until`)} from a where a.login_until is not null
    ), event as (${creationEvent()})
    select a.name, a.authentication, a.disabled, a.login_from, a.login_until, a.display_name, a.external_id,
      a.password_set_at, case when a.password_set_at is not null then 'ARGON2ID' end as password_scheme, a.version, a.created_at, a.updated_at, null as mailbox, (select count(*) from ending)
    from a`.execute(db)
  return rows[0]
}

function creationEvent() {
  return insertEvents({
    action: 'account.create',
    object: sql`a.name`,
    domain: null,
    after: sql`jsonb_build_object('authentication', a.authentication, 'display_name', a.display_name,
      'external_id', a.external_id, 'login_from', ${moment(sql`a.login_from`)},
      'login_until', ${moment(sql`a.login_until`)}, 'password_set', a.password_set_at is not null)`,
    from: sql`a`,
  })
}
