import { sql } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import type { Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { meets, type Precondition } from '../etag.ts'
import { endSessions } from '../jobs/queue.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { assertWhole, draw } from '../tokens/fuses.ts'
import type { AccountName } from './name.ts'
import type { Prepared } from './new-password.ts'
import { type AccountRow, domainOf, getAccount, lockAccount } from './store.ts'
import { mechanismsOf } from './verifier-rows.ts'
import type { Mechanism, Verifier } from './verifiers.ts'

export interface PasswordGround extends Prepared {
  /** Of its mailbox, else its name. */
  address: string
  /** Tells this account from one that is made anew under the same name. */
  createdAt: Date
}

export interface PasswordTarget {
  name: AccountName
  visible: Subject['domains']
  precondition: Precondition
}

interface ListAndSettings {
  listed: Mechanism[]
  scram_iterations: number
  password_min_length: number
  domain: DomainName | null
}

/** What verifiers the account is to have, by its domain's list, else the server's. It must be the account of `before`. */
export async function lookUpPasswordGround(
  db: Db,
  { name, visible, precondition }: PasswordTarget,
  before?: PasswordGround,
): Promise<PasswordGround> {
  const account = await getAccount(db, name, visible)
  await assertWhole(db, 'password_sets')
  if (before) assertSame(account, before)
  if (!meets(precondition, account.version)) throw problem('precondition-failed')
  const { rows } = await sql<ListAndSettings>`
    select coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as listed, s.scram_iterations,
      s.password_min_length, m.domain
    from app.settings as s
      left join app.mailboxes as m on m.name = ${name}
      left join app.domains as d on d.name = m.domain`.execute(db)
  const { listed, scram_iterations: scramIterations, password_min_length: minLength, domain } = rows[0]!
  const mechanisms = account.authentication === 'password_file' ? [] : listed
  return {
    derivation: { mechanisms, scramIterations },
    policy: { minLength, people: [{ ...account, domain }] },
    address: account.mailbox ?? name,
    createdAt: account.created_at,
  }
}

/** The account that the request meant is gone where the name has a new one. */
function assertSame(account: AccountRow, { createdAt }: PasswordGround): void {
  if (account.created_at.getTime() !== createdAt.getTime()) throw problem('account-not-found')
}

/** Returns the new version. Verifiers of a mechanism that is no longer listed are left out. */
export async function setPassword(
  tx: Tx,
  target: PasswordTarget,
  ground: PasswordGround,
  derived: Verifier[],
) {
  const { name, visible, precondition } = target
  const domain = await lockDomainList(tx, name)
  const before = await lockAccount(tx, name, visible, precondition)
  assertSame(before, ground)
  assertStillIn(before, domain?.name)
  const listed = domain?.secure_password_mechanisms ?? (await readServerList(tx))
  const verifiers = derived.filter(({ mechanism }) => mechanism === 'ARGON2ID' || listed.includes(mechanism))
  const { version } = await tx
    .updateTable('accounts')
    .set({
      mechanisms: mechanismsOf(verifiers),
      foreign_scheme: null,
      password_set_at: sql`now()`,
      version: sql`gen_random_uuid()`,
      updated_at: sql`now()`,
    })
    .where('name', '=', name)
    .returning('version')
    .executeTakeFirstOrThrow()
  const kinds = verifiers.map((one) => one.mechanism)
  const texts = verifiers.map((one) => one.verifier)
  await sql`select app.set_verifiers(${name}, ${kinds}, ${texts})`.execute(tx)
  const after = { password_set: true }
  await recordEvent(tx, { action: 'account.set-password', object: name, domain: domainOf(before), after })
  if (before.mailbox !== null) await endSessions(tx, before.mailbox)
  await draw(tx, 'password_sets', 1)
  return version
}

/** Before the account, as everybody locks them. Until the transaction ends the domain's list stays as it is. */
function lockDomainList(tx: Tx, name: AccountName) {
  return tx
    .selectFrom('domains')
    .select(['name', 'secure_password_mechanisms'])
    .where('name', '=', (eb) => eb.selectFrom('mailboxes').select('domain').where('name', '=', name))
    .forKeyShare()
    .executeTakeFirst()
}

/** A rename may have taken it to another domain, with another list, while that one was waited for. */
function assertStillIn(account: AccountRow, domain: DomainName | undefined): void {
  if (account.mailbox === null || domainOf(account) === domain) return
  const detail = 'The mailbox was moved to another domain at this moment.'
  throw problem('busy', { detail, retryAfterSeconds: 1 })
}

/** After the account: then a change of the list that is under way has either waited for this or is done. */
async function readServerList(tx: Tx): Promise<Mechanism[]> {
  const settings = await tx
    .selectFrom('settings')
    .select('secure_password_mechanisms')
    .executeTakeFirstOrThrow()
  return settings.secure_password_mechanisms
}
