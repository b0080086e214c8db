import { requireScope } from '../auth.ts'
import type { Authentication, Db } from '../database.ts'
import type { Writer } from '../idempotency/once.ts'
import { problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { parseFreeText } from '../text.ts'
import type { WorkQueue } from '../work-queue.ts'
import { assertAvailable } from './authentication.ts'
import { assertNameFree, lookUpAccountGround } from './ground.ts'
import { insertAccount } from './insert.ts'
import { type LoginPeriod, type LoginPeriodMembers, parseLoginPeriod } from './login-period.ts'
import { type AccountName, assertNameFits } from './name.ts'
import { deriveFor, type NewPassword } from './new-password.ts'
import { assertRoleNameAllowed, isRoleName } from './role-names.ts'
import { type Sealed, sealFor } from './sealed-password.ts'
import type { AccountRow } from './store.ts'

export interface PersonMembers extends LoginPeriod {
  display_name?: string | null
  external_id?: string | null
}

/** Only the members that were sent. `at` is the pointer to the object that has them. */
export function parsePersonMembers(
  { display_name, external_id, ...period }: Omit<PersonMembers, keyof LoginPeriod> & LoginPeriodMembers,
  at: string,
): PersonMembers {
  return {
    ...(display_name !== undefined && { display_name: parseMember(display_name, `${at}/display_name`) }),
    ...(external_id !== undefined && { external_id: parseMember(external_id, `${at}/external_id`) }),
    ...parseLoginPeriod(period, at),
  }
}

function parseMember(text: string | null, pointer: string): string | null {
  return text === null ? null : parseFreeText(text, pointer)
}

/** A role name takes the request's word for it and a scope. */
export function assertMayTakeName(
  subject: Subject,
  name: AccountName,
  allow = false,
  pointer = '/name',
): void {
  assertRoleNameAllowed(name, allow, pointer)
  if (isRoleName(name)) requireScope(subject, 'names:reserved')
}

export interface AccountRequest extends PersonMembers {
  name: AccountName
  password: NewPassword | 'none'
  authentication: Authentication | undefined
}

/** What a create shows besides the account itself goes with its row. */
export type CreatedAccount = AccountRow & Sealed

/** Creates an account without a mailbox. */
export async function createAccount<Made>(
  { db, derivations }: { db: Db; derivations: WorkQueue },
  request: AccountRequest,
  writer: Writer<CreatedAccount, Made>,
): Promise<Made> {
  const { name, password, display_name = null, external_id = null } = request
  const { login_from = null, login_until = null } = request
  const { prepared, verifiers } = await deriveFor(derivations, password, () => prepare(db, request))
  const { authentication } = prepared
  const account = { name, authentication, display_name, external_id, login_from, login_until, verifiers }
  const sealed = await sealFor(password, name)
  const created = await writer.statement(async (to) => {
    const row = await insertAccount(to, account)
    return row && { ...row, ...sealed }
  })
  if (created) return created
  assertNameFree(name, await lookUpAccountGround(db, name))
  throw problem('busy', { detail: 'The name was taken and freed at this moment.', retryAfterSeconds: 1 })
}

async function prepare(db: Db, { name, display_name, authentication: wanted }: AccountRequest) {
  const ground = await lookUpAccountGround(db, name)
  const authentication = wanted ?? ground.authentication
  assertAloneAvailable(authentication)
  assertNameFits(name, ground.local_name_max_length)
  assertNameFree(name, ground)
  const { secure_password_mechanisms: mechanisms, scram_iterations: scramIterations } = ground
  const policy = { minLength: ground.password_min_length, people: [{ name, display_name }] }
  return { authentication, derivation: { mechanisms, scramIterations }, policy }
}

function assertAloneAvailable(authentication: Authentication): void {
  assertAvailable(authentication)
  if (authentication !== 'password_file') return
  const detail =
    'A password_file account exists only together with its mailbox: create the mailbox, or say "local".'
  throw problemAt('authentication-unavailable', '/authentication', detail)
}
