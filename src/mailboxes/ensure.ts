import { updateAccount } from '../accounts/store.ts'
import type { Db } from '../database.ts'
import { meets, type Precondition } from '../etag.ts'
import { sameMembers } from '../merge-patch.ts'
import { ProblemError, problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { createMailbox, type MailboxRequest, type Provisioning } from './create.ts'
import { findMailbox, type MailboxTarget, updateMailbox } from './store.ts'
import type { MailboxRow } from './view.ts'

export interface Preconditions {
  ifMatch: Precondition
  mustNotExist: boolean
}

export interface Ensured {
  row: MailboxRow
  created: boolean
}

/** Creates the mailbox, or gives the one that is there the values of the request; its password stays. */
export async function ensureMailbox(
  app: Provisioning,
  subject: Subject,
  request: MailboxRequest,
  preconditions: Preconditions,
): Promise<Ensured> {
  const existing = await findMailbox(app.db, { key: request.address, visible: subject.domains })
  if (existing) return ensureExisting(app.db, subject, request, preconditions, existing)
  if (preconditions.ifMatch !== undefined) throw problem('precondition-failed')
  try {
    return { row: await createMailbox(app, subject, request), created: true }
  } catch (error) {
    // somebody else's create came first: then it is there, which is what was asked for
    const madeMeanwhile = error instanceof ProblemError && error.code === 'mailbox-exists'
    if (!madeMeanwhile) throw error
  }
  const other = await findMailbox(app.db, { key: request.address, visible: subject.domains })
  if (!other) throw problem('busy', { retryAfterSeconds: 1 })
  return ensureExisting(app.db, subject, request, preconditions, other)
}

async function ensureExisting(
  db: Db,
  subject: Subject,
  request: MailboxRequest,
  { ifMatch, mustNotExist }: Preconditions,
  existing: MailboxRow,
): Promise<Ensured> {
  if (mustNotExist || !meets(ifMatch, existing.version)) throw problem('precondition-failed')
  const { authentication } = request.body
  if (authentication !== undefined && authentication !== existing.authentication) {
    throw problem('authentication-differs', {
      detail: `The account is of the kind ${existing.authentication}.`,
    })
  }
  if (sameMembers(existing, wanted(request))) return { row: existing, created: false }
  return { row: await writeMembers(db, subject, request, ifMatch), created: false }
}

function wanted({ body: { quota_bytes }, person }: MailboxRequest) {
  return { quota_bytes, ...person }
}

/** Account first, so that what the second statement returns shows both. */
function writeMembers(
  db: Db,
  subject: Subject,
  request: MailboxRequest,
  precondition: Precondition,
): Promise<MailboxRow> {
  const { address, person, body } = request
  const target: MailboxTarget = { key: address, visible: subject.domains, precondition }
  const changes = body.quota_bytes === undefined ? {} : { quota_bytes: body.quota_bytes }
  return db.transaction().execute(async (tx) => {
    const account = { name: address.name, visible: subject.domains, changes: person, precondition: undefined }
    await updateAccount(tx, account)
    return updateMailbox(tx, target, changes)
  })
}
