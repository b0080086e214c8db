import type { DomainName } from '../domains/name.ts'
import { directly } from '../idempotency/once.ts'
import { createMailbox, createsAccount, type MailboxRequest, type Provisioning } from '../mailboxes/create.ts'
import { ensureMailbox, wanted } from '../mailboxes/ensure.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import type { CreatedMailbox } from '../mailboxes/write.ts'
import { sameMembers } from '../merge-patch.ts'
import type { Subject } from '../subject.ts'
import { createMany } from './create-many.ts'
import { type Outcome, outcomeOf } from './outcomes.ts'
import type { Task } from './tasks.ts'

export interface ImportContext {
  app: Provisioning
  subject: Subject
  /** Mailboxes that earlier rows of a dry run would have added to domains. */
  tried: Map<DomainName, number>
  /** Called, once or more often, with what keeps Postgres busy on its way: what is begun then costs no time. */
  meanwhile: () => void
}

export type Making = Extract<Task, { kind: 'make' }>

/** By address, those that are there and active. */
export type Existing = ReadonlyMap<string, MailboxRow>

/** Creates by one statement what is not there; the few that are another case each as the single call does. */
export async function makeMany(
  context: ImportContext,
  makings: readonly Making[],
  existing: Existing,
): Promise<Outcome[]> {
  if (makings.length === 0) return []
  const isThere = ({ request }: Making) => existing.has(request.address.address)
  const isPlain = (one: Making) => canBeOneOfMany(one) && !(one.again && isThere(one))
  const plain = makings.filter(isPlain)
  const made = new Map(zip(plain, await createMany(context, plain)))
  const outcomes: Outcome[] = []
  for (const making of makings) outcomes.push(made.get(making) ?? (await makeOne(context, making, existing)))
  return outcomes
}

function zip<A, B>(as: readonly A[], bs: readonly (B | undefined)[]): [A, B | undefined][] {
  return as.map((a, i) => [a, bs[i]])
}

/** Whose account is made too, whose password needs no derivation and whose mail goes nowhere else. */
function canBeOneOfMany({ request: { body, password, values } }: Making): boolean {
  const derived = password === undefined || password === 'none' || password.verifiers !== undefined
  return derived && body.create_account !== false && !values.forward_to
}

function makeOne(context: ImportContext, making: Making, existing: Existing): Promise<Outcome> {
  const { app, subject } = context
  const { request } = making
  return outcomeOf(async () => {
    if (!making.again) {
      const createAccount = await createsAccount(app.db, subject, request)
      await createMailbox(app, { subject, request, createAccount, writer: directly<CreatedMailbox>(app.db) })
      return { status: 'created' }
    }
    const before = existing.get(request.address.address)
    if (before && isAsAsked(before, request)) return { status: 'unchanged' }
    const { created } = await ensureMailbox(app, subject, request, none)
    if (created) return { status: 'created' }
    return { status: before ? 'updated' : 'unchanged' }
  })
}

const none = { ifMatch: undefined, mustNotExist: false }

export function isAsAsked(before: MailboxRow, request: MailboxRequest): boolean {
  const { authentication } = request.body
  return (
    (authentication === undefined || authentication === before.authentication) &&
    sameMembers(before, wanted(request))
  )
}
