import { isRoleName } from '../accounts/role-names.ts'
import { recordChange, recordEvent } from '../audit/record.ts'
import { requireScope } from '../auth.ts'
import type { Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import type { Address } from '../mailboxes/address.ts'
import { sameMembers } from '../merge-patch.ts'
import type { Subject } from '../subject.ts'
import { draw } from '../tokens/fuses.ts'
import { isCatchAll } from './address.ts'
import { assertGraphSound, lockAliasGraph } from './graph.ts'
import { type AliasRow, getAlias, type LockedAlias, lockAlias, removeAlias, writeAlias } from './store.ts'
import { assertTargetsExist, findForwarded } from './targets.ts'

export interface AliasWrite {
  subject: Subject
  address: Address
  precondition: Precondition
}

export interface AliasChanges {
  targets?: string[]
  send_as?: boolean
}

/** Where mail for role names goes is decided by whoever may use them. */
export function assertMayRedirect(subject: Subject, address: Address, { targets }: AliasChanges): void {
  if (targets && (isCatchAll(address) || isRoleName(address.name))) requireScope(subject, 'names:reserved')
}

export async function updateAlias(tx: Tx, write: AliasWrite, changes: AliasChanges): Promise<AliasRow> {
  const { subject, address, precondition } = write
  const place = { address, visible: subject.domains }
  await getAlias(tx, place) // what is not there, or not the caller's, waits for nobody
  if (changes.targets) await lockAliasGraph(tx)
  const before = await lockAlias(tx, place)
  // Who decides where a held name leads decides who may have it back (src/mailboxes/rename.ts).
  if (changes.targets && before.holds_name) requireScope(subject, 'mailboxes:purge')
  requireVersion(precondition, before.version)
  if (sameMembers(before, changes)) return getAlias(tx, place)
  const { targets = before.targets, send_as = before.send_as } = changes
  const forwarded = await judge(tx, subject, before, targets)
  await writeAlias(tx, address, { targets, forwarded, send_as })
  if (changes.targets) await assertGraphSound(tx, address, subject.domains)
  await recordChange(tx, {
    action: 'alias.update',
    object: address.address,
    domain: address.domain,
    before: { targets: before.targets, send_as: before.send_as },
    after: { targets, send_as },
  })
  return getAlias(tx, place)
}

/** Those to be forwarded to. What was a target before stays what it was, so that others can be added and removed. */
async function judge(
  tx: Tx,
  subject: Subject,
  before: LockedAlias,
  targets: readonly string[],
): Promise<string[]> {
  const added = targets.filter((target) => !before.targets.includes(target))
  const forwarded = await findForwarded(tx, subject, added)
  await assertTargetsExist(
    tx,
    targets,
    added.filter((target) => !forwarded.includes(target)),
  )
  return targets.filter((target) => before.forwarded.includes(target) || forwarded.includes(target))
}

/** With the alias of a renamed mailbox goes the hold on its old name, as a purge would free it. */
export async function deleteAlias(tx: Tx, { subject, address, precondition }: AliasWrite): Promise<void> {
  const { version, holds_name, targets, send_as } = await lockAlias(tx, { address, visible: subject.domains })
  if (holds_name) requireScope(subject, 'mailboxes:purge')
  requireVersion(precondition, version)
  await removeAlias(tx, address)
  await recordEvent(tx, {
    action: 'alias.delete',
    object: address.address,
    domain: address.domain,
    before: { targets, send_as, holds_name },
  })
  await draw(tx, 'deletes', 1)
}
