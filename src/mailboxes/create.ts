import { assertMayTakeName, parsePersonMembers } from '../accounts/create.ts'
import { deriveFor, type NewPassword, readNewPassword, requirePassword } from '../accounts/new-password.ts'
import { type PasswordPolicy, personalWords } from '../accounts/password-policy.ts'
import { mayTouch, requireAllDomains, requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import type { Writer } from '../idempotency/once.ts'
import { problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { WorkQueue } from '../work-queue.ts'
import type { Address } from './address.ts'
import {
  assertCreatable,
  authenticationFor,
  type Ground,
  lookUpGround,
  unknownDomain,
  type Wish,
} from './ground.ts'
import { insertMailbox, insertWithinLimit, type NewMailbox } from './insert.ts'
import type { MailboxEnsure } from './schemas.ts'
import type { MailboxRow } from './view.ts'

export interface Provisioning {
  db: Db
  /** Key derivations take their turns here. */
  derivations: WorkQueue
}

/** A body that is parsed and that the caller's scopes allow. */
export interface MailboxRequest {
  address: Address
  body: MailboxEnsure
  password: NewPassword | undefined
  person: ReturnType<typeof parsePersonMembers>
  /** Where the request has the address. */
  pointer: string
}

/** Judges everything that needs no look-up. */
export function readMailboxRequest(
  subject: Subject,
  address: Address,
  body: MailboxEnsure,
  pointer = '/address',
): MailboxRequest {
  if (!mayTouch(subject, address.domain)) throw unknownDomain(pointer)
  assertMayTakeName(subject, address.name, body.allow_role_name, pointer)
  if (body.create_account === false) {
    assertMayLink(subject)
    refusePassword(body)
  }
  const person = parsePersonMembers(body.account ?? {}, '/account')
  return { address, body, password: readNewPassword(body), person, pointer }
}

/** Linking reaches an account that lies in no domain yet, so it is not for callers who are limited to some. */
function assertMayLink(subject: Subject): void {
  requireAllDomains(subject)
  requireScope(subject, 'accounts:write')
}

function refusePassword({ password, generate_password }: MailboxEnsure): void {
  if (password === undefined && !generate_password) return
  const pointer = password === undefined ? '/generate_password' : '/password'
  const detail = 'Without create_account: true the account must exist already, and it keeps its password.'
  throw problemAt('password-not-accepted', pointer, detail)
}

/**
 * Whether the account is made too: the request says, else the server. The last right that a create takes depends on
 * it.
 */
export async function createsAccount(
  db: Db,
  subject: Subject,
  { body, address }: MailboxRequest,
): Promise<boolean> {
  if (body.create_account !== undefined) return body.create_account
  const ground = await lookUpGround(db, address)
  if (!ground.create_account_default) assertMayLink(subject)
  return ground.create_account_default
}

export interface MailboxCreation<Made> {
  subject: Subject
  request: MailboxRequest
  createAccount: boolean
  writer: Writer<MailboxRow, Made>
}

/** Creates the mailbox, with a new account or on one that exists; throws what stands against it. */
export async function createMailbox<Made>(app: Provisioning, creation: MailboxCreation<Made>): Promise<Made> {
  const { subject, request, createAccount } = creation
  const wish: Wish = {
    address: request.address,
    pointer: request.pointer,
    createAccount,
    authentication: request.body.authentication,
  }
  const attempt = createAccount ? await withNewAccount(app, subject, request, wish) : onAccount(request)
  return insertOrExplain(app.db, creation, wish, attempt)
}

/** What to write, and whether the domain is known to have a limit, which is kept in another way. */
interface Attempt {
  mailbox: NewMailbox
  limited: boolean
}

async function withNewAccount(
  app: Provisioning,
  subject: Subject,
  request: MailboxRequest,
  wish: Wish,
): Promise<Attempt> {
  const lookUp = async () => {
    const ground = await lookUpGround(app.db, wish.address)
    assertCreatable(ground, wish, subject)
    const limited = ground.mailbox_limit !== null
    return {
      authentication: authenticationFor(ground, wish),
      derivation: derivationFor(ground, wish),
      policy: policyFor(ground, [request.address], request.person),
      limited,
    }
  }
  if (!request.password) await lookUp() // a collision is told before the missing password
  const { prepared, verifiers } = await deriveFor(app.derivations, requirePassword(request.password), lookUp)
  const { authentication, limited } = prepared
  return { mailbox: newMailbox(request, { authentication, verifiers }), limited }
}

function derivationFor(ground: Ground, wish: Wish) {
  const mechanisms = authenticationFor(ground, wish) === 'local' ? ground.secure_password_mechanisms : []
  return { mechanisms, scramIterations: ground.scram_iterations }
}

/** What the password of a new account is held against; `addresses` are all that it may get. */
export function policyFor(
  { password_min_length: minLength }: Ground,
  addresses: readonly Address[],
  { display_name }: MailboxRequest['person'],
): PasswordPolicy {
  const words = personalWords(...addresses.map(({ name, domain }) => ({ name, domain, display_name })))
  return { minLength, words }
}

function onAccount(request: MailboxRequest): Attempt {
  refusePassword(request.body)
  const mailbox = newMailbox(request, { linked: true, authentication: request.body.authentication })
  return { mailbox, limited: false }
}

function newMailbox({ address, body, person }: MailboxRequest, account: NewMailbox['account']): NewMailbox {
  return {
    address,
    quotaBytes: body.quota_bytes ?? null,
    displayName: person.display_name,
    externalId: person.external_id,
    account,
  }
}

/** The constraints that a create can lose a race by. */
const collisions = new Set([
  'addresses_pkey',
  'addresses_name_key',
  'mailboxes_pkey',
  'accounts_pkey',
  'mailboxes_account_fkey',
])
const attempts = 3

/**
 * Writes, and looks for the reason only where nothing was written. Where the reason is gone by then (the
 * name was freed, the limit lifted), it writes again.
 */
async function insertOrExplain<Made>(
  db: Db,
  { subject, writer }: MailboxCreation<Made>,
  wish: Wish,
  { mailbox, limited: known }: Attempt,
): Promise<Made> {
  let limited = known
  for (let attempt = 0; attempt < attempts; attempt++) {
    const created = await (limited
      ? writer.transaction((tx) => insertWithinLimit(tx, mailbox))
      : writer.statement((to) => insertMailbox(to, mailbox))
    ).catch(undefinedOnCollision)
    if (created) return created
    const ground = await lookUpGround(db, wish.address)
    assertCreatable(ground, wish, subject)
    limited = ground.mailbox_limit !== null
  }
  throw problem('busy', {
    detail: 'The name was taken and freed again at this moment.',
    retryAfterSeconds: 1,
  })
}

function undefinedOnCollision(error: { constraint?: string }): undefined {
  if (!collisions.has(error.constraint ?? '')) throw error
}
