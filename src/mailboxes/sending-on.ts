import { isRoleName } from '../accounts/role-names.ts'
import { lockAliasGraph } from '../aliases/graph.ts'
import { assertTargetsExist } from '../aliases/targets.ts'
import { requireScope } from '../auth.ts'
import type { Db, Tx } from '../database.ts'
import { assertMayForward, isForwarding, lookUpForwardingRules } from '../forwarding.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { lockMailbox, type MailboxTarget } from './store.ts'
import { updateMailbox } from './update.ts'
import type { MailboxValues } from './values.ts'
import type { MailboxRow } from './view.ts'

const pointer = '/forward_to'

/** Where the mail of a mailbox is sent on to. */
export interface SentOn {
  forward_to: string[]
  /** Those of them that may be outside; the others stand for an address here. */
  forwarded: string[]
}

const nowhere: SentOn = { forward_to: [], forwarded: [] }

/**
 * Adds which of the addresses may be outside. Only those that are new are judged, by the caller's rights and whether
 * they are there, so that one who may not add such an address can still remove others.
 */
export async function withForwarded(
  db: Db,
  subject: Subject,
  values: MailboxValues,
  before: SentOn = nowhere,
): Promise<MailboxValues> {
  const { forward_to } = values
  if (forward_to === undefined) return values
  const added = forward_to.filter((target) => !before.forward_to.includes(target))
  const outside = added.length === 0 ? [] : await judge(db, subject, forward_to, added)
  const forwarded = forward_to.filter((one) => before.forwarded.includes(one) || outside.includes(one))
  return { ...values, forwarded }
}

/** Those of the added ones that are outside. */
async function judge(db: Db, subject: Subject, all: string[], added: string[]): Promise<string[]> {
  const rules = await lookUpForwardingRules(db, subject, added)
  assertMayForward(subject, rules, all, pointer, added)
  const outside = added.filter((target) => isForwarding(rules, target))
  const known = added.filter((target) => !outside.includes(target))
  await assertTargetsExist(db, all, known, pointer)
  return outside
}

/**
 * What is added is written under the lock of the alias graph, under which renames and moves redirect whatever names an
 * old address: it is not to be judged before one of them and written after it. Taken before any other lock.
 */
export async function holdTargets(tx: Tx, { forward_to }: MailboxValues): Promise<void> {
  if (forward_to && forward_to.length > 0) await lockAliasGraph(tx)
}

/** The mailbox is held meanwhile, so that what is judged is what is there. */
export async function updateSentOn(
  tx: Tx,
  subject: Subject,
  target: MailboxTarget,
  values: MailboxValues,
): Promise<MailboxRow> {
  await holdTargets(tx, values)
  const before = await lockMailbox(tx, target)
  if (!before) throw problem('mailbox-not-found')
  // whoever gets mail for a role name can get a certificate for the domain
  if (isRoleName(before.name)) requireScope(subject, 'names:reserved')
  return updateMailbox(tx, target, await withForwarded(tx, subject, values, before))
}
