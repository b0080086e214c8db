import { updateAccount } from '../accounts/store.ts'
import type { Db } from '../database.ts'
import { meets, type Precondition } from '../etag.ts'
import { directly } from '../idempotency/once.ts'
import { sameMembers } from '../merge-patch.ts'
import { ProblemError, problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { createMailbox, createsAccount, type MailboxRequest, type Provisioning } from './create.ts'
import { holdTargets, withForwarded } from './sending-on.ts'
import { findMailbox, lockMailbox, type MailboxTarget } from './store.ts'
import { updateMailbox } from './update.ts'
import type { MailboxRow } from './view.ts'
import type { CreatedMailbox } from './write.ts'

export interface Preconditions {
  ifMatch: Precondition
  mustNotExist: boolean
}

export interface Ensured {
  row: CreatedMailbox
  created: boolean
}

const attempts = 10 // a storm on one address passes

/** Creates the mailbox, or gives the one that is there the values of the request; its password stays. */
export async function ensureMailbox(
  app: Provisioning,
  subject: Subject,
  request: MailboxRequest,
  preconditions: Preconditions,
): Promise<Ensured> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const existing = await findMailbox(app.db, { key: request.address, visible: subject.domains })
    const ensured = existing
      ? await ensureExisting(app.db, subject, request, preconditions, existing)
      : await create(app, subject, request, preconditions)
    if (ensured) return ensured // else somebody else made it, or deleted it, at this moment
  }
  throw problem('busy', { detail: 'The mailbox is made and deleted all the time.', retryAfterSeconds: 1 })
}

async function create(
  app: Provisioning,
  subject: Subject,
  request: MailboxRequest,
  { ifMatch }: Preconditions,
): Promise<Ensured | undefined> {
  if (ifMatch !== undefined) throw problem('precondition-failed')
  try {
    const createAccount = await createsAccount(app.db, subject, request)
    const creation = { subject, request, createAccount, writer: directly<CreatedMailbox>(app.db) }
    return { row: await createMailbox(app, creation), created: true }
  } catch (error) {
    // then it is there, which is what was asked for
    if (error instanceof ProblemError && error.code === 'mailbox-exists') return undefined
    throw error
  }
}

async function ensureExisting(
  db: Db,
  subject: Subject,
  request: MailboxRequest,
  { ifMatch, mustNotExist }: Preconditions,
  existing: MailboxRow,
): Promise<Ensured | undefined> {
  if (mustNotExist || !meets(ifMatch, existing.version)) throw problem('precondition-failed')
  const { authentication } = request.body
  if (authentication !== undefined && authentication !== existing.authentication) {
    throw problem('authentication-differs', {
      detail: `The account is of the kind ${existing.authentication}.`,
    })
  }
  if (sameMembers(existing, wanted(request))) return { row: existing, created: false }
  const row = await writeMembers(db, subject, request, ifMatch)
  return row && { row, created: false }
}

export function wanted({ values, person }: MailboxRequest) {
  return { ...values, ...person }
}

/**
 * The mailbox is locked first, as in a deletion, so that the two cannot wait for each other; it is written last, so
 * that what that statement returns shows both. undefined where it is not there any more.
 */
export function writeMembers(
  db: Db,
  subject: Subject,
  request: MailboxRequest,
  precondition: Precondition,
): Promise<MailboxRow | undefined> {
  const { address, person, values } = request
  const target: MailboxTarget = { key: address, visible: subject.domains, precondition }
  return db.transaction().execute(async (tx) => {
    const account = { name: address.name, visible: subject.domains, changes: person, precondition: undefined }
    await holdTargets(tx, values)
    const before = await lockMailbox(tx, target)
    if (!before) return undefined
    const judged = await withForwarded(tx, subject, values, before)
    await updateAccount(tx, account)
    return updateMailbox(tx, target, judged)
  })
}
