import { requirePassword, wantedOf } from '../accounts/new-password.ts'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { directly } from '../idempotency/once.ts'
import type { Address } from '../mailboxes/address.ts'
import {
  createMailbox,
  createsAccount,
  judgeNewAccount,
  type MailboxRequest,
  newMailbox,
  type Provisioning,
} from '../mailboxes/create.ts'
import type { LoginFacts } from '../mailboxes/credentials.ts'
import { ensureMailbox, wanted } from '../mailboxes/ensure.ts'
import { type Ground, lookUpDomainGrounds, lookUpGrounds } from '../mailboxes/ground.ts'
import { insertMailboxes, type NewMailboxWithAccount } from '../mailboxes/insert-many.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import { type CreatedMailbox, isCollision } from '../mailboxes/write.ts'
import { sameMembers } from '../merge-patch.ts'
import type { ProblemError } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { failed, isProblem, type Outcome, outcomeOf, withLogins } from './outcomes.ts'
import type { Task } from './tasks.ts'

export interface ImportContext {
  app: Provisioning
  subject: Subject
  /** Mailboxes that earlier rows of a dry run would have added to domains. */
  tried: Map<DomainName, number>
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
export function canBeOneOfMany({ request: { body, password, values } }: Making): boolean {
  const derived = password === undefined || password === 'none' || password.verifiers !== undefined
  return derived && body.create_account !== false && !values.forward_to
}

/** undefined for those that have to be done by themselves. */
async function createMany(
  context: ImportContext,
  makings: readonly Making[],
): Promise<(Outcome | undefined)[]> {
  if (makings.length === 0) return []
  const made = await insertJudged(context, makings)
  const left = makings.filter(({ request }) => !made.has(request.address.name))
  const refusals = new Map(zip(left, await findRefusals(context, left)))
  return makings.map((making) => {
    const facts = made.get(making.request.address.name)
    const refusal = refusals.get(making)
    if (facts) return withLogins({ status: 'created' }, facts)
    return refusal && failed(refusal)
  })
}

/** Those that were made, by name. */
async function insertJudged(
  { app: { db }, subject, tried }: ImportContext,
  makings: readonly Making[],
): Promise<Map<string, LoginFacts>> {
  const addresses = addressesOf(makings)
  const held = await holdLimitedDomains(db, [...new Set(addresses.map(({ domain }) => domain))])
  // Who has the names shows when they are not made; before, only where those that are refused must not fill a domain.
  const grounds = await (held.length > 0 ? lookUpGrounds : lookUpDomainGrounds)(db, addresses)
  const mailboxes = judgeAll({ subject, tried }, makings, grounds).filter(isMailbox)
  const logins = await insertMailboxes(db, mailboxes, held).catch((error) => {
    if (isCollision(error)) return [] // somebody is faster: one by one it becomes clear with what
    throw error
  })
  return new Map(logins.map((one) => [one.name, one]))
}

/** What stands against each of those that were not made; undefined where that is nothing any more. */
async function findRefusals(
  { app: { db }, subject, tried }: ImportContext,
  makings: readonly Making[],
): Promise<(ProblemError | undefined)[]> {
  if (makings.length === 0) return []
  const judged = judgeAll({ subject, tried }, makings, await lookUpGrounds(db, addressesOf(makings)))
  return judged.map((one) => (isProblem(one) ? one : undefined))
}

function addressesOf(makings: readonly Making[]): Address[] {
  return makings.map(({ request }) => request.address)
}

type Judged = NewMailboxWithAccount | ProblemError | undefined

function isMailbox(judged: Judged): judged is NewMailboxWithAccount {
  return judged !== undefined && !isProblem(judged)
}

function judgeAll(
  { subject, tried }: Pick<ImportContext, 'subject' | 'tried'>,
  makings: readonly Making[],
  grounds: Ground[],
): Judged[] {
  const counts = new Map<DomainName, number>()
  return makings.map(({ request }, i) =>
    judge(subject, request, withCount(grounds[i]!, counts, tried), counts),
  )
}

/** Until the transaction ends nobody else fills them, and what is counted after this is true. */
async function holdLimitedDomains(db: Db, names: DomainName[]): Promise<DomainName[]> {
  const rows = await db
    .selectFrom('domains')
    .select('name')
    .where('name', 'in', names)
    .where('mailbox_limit', 'is not', null)
    .where('state', '=', 'active')
    .orderBy('name')
    .forUpdate()
    .execute()
  return rows.map(({ name }) => name)
}

/** Only the first row of a domain has its count; the others have what those before them make of it. */
function withCount(ground: Ground, counts: Map<DomainName, number>, tried: ImportContext['tried']): Ground {
  const { domain, mailbox_limit } = ground
  if (domain === null || mailbox_limit === null) return ground
  const count = counts.get(domain) ?? (ground.mailbox_count ?? 0) + (tried.get(domain) ?? 0)
  counts.set(domain, count)
  return { ...ground, mailbox_count: count }
}

function judge(
  subject: Subject,
  request: MailboxRequest,
  ground: Ground,
  counts: Map<DomainName, number>,
): Judged {
  const { address, body, password } = request
  if (body.create_account === undefined && !ground.create_account_default) return undefined
  const wish = { address, pointer: '/address', createAccount: true, authentication: body.authentication }
  try {
    const { authentication, derivation } = judgeNewAccount(ground, subject, request, wish)
    const known = requirePassword(password)
    const verifiers = known === 'none' ? [] : wantedOf(known.verifiers ?? [], derivation)
    const { domain } = address
    if (counts.has(domain)) counts.set(domain, counts.get(domain)! + 1)
    return newMailbox(request, { authentication, verifiers }) as NewMailboxWithAccount
  } catch (error) {
    if (isProblem(error)) return error
    throw error
  }
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
