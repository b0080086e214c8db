import { assertMayTakeName, type PersonMembers, parsePersonMembers } from '../accounts/create.ts'
import {
  assertMayDeliver,
  deriveFor,
  type NewPassword,
  readFirstPassword,
  refusePassword,
  requirePassword,
} from '../accounts/new-password.ts'
import { sealFor } from '../accounts/sealed-password.ts'
import { mayTouch, requireAllDomains, requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import type { Writer } from '../idempotency/once.ts'
import { problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { WorkQueue } from '../work-queue.ts'
import type { Address } from './address.ts'
import type { MailboxEnsure } from './create-schemas.ts'
import {
  assertCreatable,
  assertMayLackPassword,
  authenticationFor,
  type Ground,
  lookUpGround,
  unknownDomain,
  type Wish,
} from './ground.ts'
import type { NewMailbox } from './insert.ts'
import { policyFor } from './password-policy.ts'
import { withForwarded } from './sending-on.ts'
import { type MailboxValues, parseMailboxValues } from './values.ts'
import { type Attempt, type CreatedMailbox, isCollision, writeMailbox } from './write.ts'

export interface Provisioning {
  db: Db
  /** Key derivations take their turns here. */
  derivations: WorkQueue
}

/** A body that is parsed and that the caller's scopes allow. */
export interface MailboxRequest {
  address: Address
  body: MailboxEnsure
  password: NewPassword | 'none' | undefined
  person: PersonMembers
  values: MailboxValues
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
    refusePassword(body, keepsPassword)
  }
  assertMayDeliver(subject, body)
  const person = parsePersonMembers(body.account ?? {}, '/account')
  const values = parseMailboxValues(body)
  return { address, body, password: readFirstPassword(body), person, values, pointer }
}

/** Linking reaches an account that lies in no domain yet, so it is not for callers who are limited to some. */
function assertMayLink(subject: Subject): void {
  requireAllDomains(subject)
  requireScope(subject, 'accounts:write')
}

const keepsPassword =
  'Without create_account: true the account must exist already, and it keeps its password.'

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
  writer: Writer<CreatedMailbox, Made>
}

/** Creates the mailbox, with a new account or on one that exists; throws what stands against it. */
export async function createMailbox<Made>(app: Provisioning, creation: MailboxCreation<Made>): Promise<Made> {
  const { subject, createAccount } = creation
  const values = await withForwarded(app.db, subject, creation.request.values)
  const request = { ...creation.request, values }
  const wish: Wish = {
    address: request.address,
    pointer: request.pointer,
    createAccount,
    authentication: request.body.authentication,
  }
  const attempt = createAccount ? await withNewAccount(app, subject, request, wish) : onAccount(request)
  return insertOrExplain(app.db, creation, wish, attempt)
}

async function withNewAccount(
  app: Provisioning,
  subject: Subject,
  request: MailboxRequest,
  wish: Wish,
): Promise<Attempt> {
  const lookUp = async () => judgeNewAccount(await lookUpGround(app.db, wish.address), subject, request, wish)
  if (!request.password) await lookUp() // a collision is told before the missing password
  const { prepared, verifiers } = await deriveFor(app.derivations, requirePassword(request.password), lookUp)
  const { authentication, limited } = prepared
  const sealed = await sealFor(request.password, request.address.address)
  return { mailbox: newMailbox(request, { authentication, verifiers }), limited, sealed }
}

/** Throws what stands against a mailbox with a new account; says what is to be made of its password. */
export function judgeNewAccount(
  ground: Ground,
  subject: Subject,
  { address, password, person }: Pick<MailboxRequest, 'address' | 'password' | 'person'>,
  wish: Wish,
) {
  assertCreatable(ground, wish, subject)
  const authentication = authenticationFor(ground, wish)
  assertMayLackPassword(authentication, password)
  return {
    authentication,
    derivation: derivationFor(ground, wish),
    policy: policyFor(ground, [address], person),
    limited: ground.mailbox_limit !== null,
  }
}

export function derivationFor(ground: Ground, wish: Wish) {
  const mechanisms = authenticationFor(ground, wish) === 'local' ? ground.secure_password_mechanisms : []
  return { mechanisms, scramIterations: ground.scram_iterations }
}

function onAccount(request: MailboxRequest): Attempt {
  refusePassword(request.body, keepsPassword)
  if (typeof request.password === 'object' && request.password.verifiers)
    // the hash of a row of an import
    throw problemAt('password-not-accepted', '/password_hash', keepsPassword)
  const mailbox = newMailbox(request, { linked: true, authentication: request.body.authentication })
  return { mailbox, limited: false, sealed: {} }
}

export function newMailbox(
  { address, person, values }: Pick<MailboxRequest, 'address' | 'person' | 'values'>,
  account: NewMailbox['account'],
): NewMailbox {
  return {
    address,
    values,
    person,
    account,
  }
}

const attempts = 3

/**
 * Writes, and looks for the reason only where nothing was written. Where the reason is gone by then (the
 * name was freed, the limit lifted), it writes again.
 */
async function insertOrExplain<Made>(
  db: Db,
  { subject, writer }: MailboxCreation<Made>,
  wish: Wish,
  first: Attempt,
): Promise<Made> {
  let { limited } = first
  for (let attempt = 0; attempt < attempts; attempt++) {
    const created = await writeMailbox({ subject, writer }, { ...first, limited }).catch(undefinedOnCollision)
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
  if (!isCollision(error)) throw error
}
