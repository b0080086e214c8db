import { requirePassword, wantedOf } from '../accounts/new-password.ts'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { judgeNewAccount, type MailboxRequest, newMailbox } from '../mailboxes/create.ts'
import type { LoginFacts } from '../mailboxes/credentials.ts'
import { type Ground, lookUpDomainGrounds, lookUpGrounds } from '../mailboxes/ground.ts'
import { insertMailboxes, type NewMailboxWithAccount } from '../mailboxes/insert-many.ts'
import { isCollision } from '../mailboxes/write.ts'
import type { ProblemError } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { ImportContext, Making } from './make-many.ts'
import { failed, isProblem, type Outcome, withLogins } from './outcomes.ts'

/**
 * Makes by one statement those that can be made; undefined for those that have to be done by themselves. Who has a name
 * shows by what is not made, and is looked up then. Only where a domain has a limit it has to be known before: what is
 * refused must not count.
 */
export async function createMany(
  context: ImportContext,
  makings: readonly Making[],
): Promise<(Outcome | undefined)[]> {
  if (makings.length === 0) return []
  const { db } = context.app
  const held = await holdLimitedDomains(db, domainsOf(makings))
  const first = judgeAll(context, makings, await lookUp(db, held, makings))
  const made = await insertJudged(context, first.filter(isMailbox), held)
  const left = makings.filter(({ request }) => !made.has(request.address.name))
  const refusals = held.length > 0 ? zip(makings, first) : zip(left, await judgeAgain(context, left))
  const refusalOf = new Map(refusals)
  return makings.map((making) => {
    const facts = made.get(making.request.address.name)
    if (facts) return withLogins({ status: 'created' }, facts)
    const refusal = refusalOf.get(making)
    // what an ensuring row is too late to make is there, as it wants it
    const isMade = making.again && isProblem(refusal) && refusal.code === 'mailbox-exists'
    return isProblem(refusal) && !isMade ? failed(refusal) : undefined
  })
}

function zip<A, B>(as: readonly A[], bs: readonly B[]): [A, B][] {
  return as.map((a, i) => [a, bs[i]!])
}

function domainsOf(makings: readonly Making[]): DomainName[] {
  return [...new Set(makings.map(({ request }) => request.address.domain))]
}

function lookUp(db: Db, held: readonly DomainName[], makings: readonly Making[]): Promise<Ground[]> {
  const addresses = makings.map(({ request }) => request.address)
  return held.length > 0 ? lookUpGrounds(db, addresses) : lookUpDomainGrounds(db, addresses)
}

/** With whoever has the names. */
async function judgeAgain(context: ImportContext, makings: readonly Making[]): Promise<Judged[]> {
  if (makings.length === 0) return []
  const addresses = makings.map(({ request }) => request.address)
  return judgeAll(context, makings, await lookUpGrounds(context.app.db, addresses))
}

/** How to log in to those that were made, by name. */
async function insertJudged(
  { app: { db }, meanwhile }: ImportContext,
  mailboxes: NewMailboxWithAccount[],
  held: DomainName[],
): Promise<Map<string, LoginFacts>> {
  const logins = await insertMailboxes(db, mailboxes, held, meanwhile).catch((error) => {
    if (isCollision(error)) return [] // somebody is faster: one by one it becomes clear with what
    throw error
  })
  return new Map(logins.map((one) => [one.name, one]))
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

type Judged = NewMailboxWithAccount | ProblemError | undefined

function isMailbox(judged: Judged): judged is NewMailboxWithAccount {
  return judged !== undefined && !isProblem(judged)
}

function judgeAll(
  { subject, tried }: ImportContext,
  makings: readonly Making[],
  grounds: readonly Ground[],
): Judged[] {
  const counts = new Map<DomainName, number>()
  return makings.map(({ request }, i) =>
    judge(subject, request, withCount(grounds[i]!, counts, tried), counts),
  )
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
