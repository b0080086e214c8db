import { sql } from 'kysely'
import type { Db } from '../database.ts'
import type { Address } from '../mailboxes/address.ts'
import type { MailboxRequest } from '../mailboxes/create.ts'
import { deleteMailboxes } from '../mailboxes/deletion.ts'
import { writeMembers } from '../mailboxes/ensure.ts'
import { explainLostRename, type Rename, renameMailbox } from '../mailboxes/rename.ts'
import { restoreMailbox } from '../mailboxes/restore.ts'
import { updateMailboxes } from '../mailboxes/update.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import { isCollision } from '../mailboxes/write.ts'
import { sameMembers } from '../merge-patch.ts'
import { problem } from '../problems.ts'
import { countably } from '../tokens/fuses.ts'
import type { Existing, ImportContext } from './make-many.ts'
import { failed, type Outcome, outcomeOf } from './outcomes.ts'
import type { Task } from './tasks.ts'

type Setting = Extract<Task, { kind: 'set' }>

const notFound = () => failed(problem('mailbox-not-found'))

/** Those that are set to the same values are changed together; what belongs to the person, one by one. */
export async function setMany(
  context: ImportContext,
  settings: readonly Setting[],
  existing: Existing,
): Promise<Outcome[]> {
  const differ = settings.filter((one) => needsChange(one, existing))
  const together = differ.filter(({ person }) => Object.keys(person).length === 0)
  const groups = Map.groupBy(together, ({ values }) => JSON.stringify(values))
  const changed = new Set<string>()
  for (const group of groups.values()) {
    for (const { address } of await setAlike(context, group)) changed.add(address)
  }
  const outcomes: Outcome[] = []
  for (const one of settings) {
    const { address } = one.address
    if (!existing.has(address)) outcomes.push(notFound())
    else if (changed.has(address)) outcomes.push({ status: 'updated' })
    else if (!differ.includes(one)) outcomes.push({ status: 'unchanged' })
    else outcomes.push(await setOne(context, one))
  }
  return outcomes
}

function needsChange({ address, values, person }: Setting, existing: Existing): boolean {
  const before = existing.get(address.address)
  return before !== undefined && !sameMembers(before, { ...values, ...person })
}

function setAlike({ app: { db }, subject }: ImportContext, group: Setting[]): Promise<MailboxRow[]> {
  const key = { addresses: group.map(({ address }) => address) }
  const target = { key, visible: subject.domains, precondition: undefined }
  return countably(db, 'locks', (tx) => updateMailboxes(tx, target, group[0]!.values))
}

/** As an ensuring PUT does with a mailbox that is there. */
function setOne({ app: { db }, subject }: ImportContext, setting: Setting): Promise<Outcome> {
  return outcomeOf(async () => {
    const row = await writeMembers(db, subject, setting as unknown as MailboxRequest, undefined)
    return row ? { status: 'updated' } : notFound()
  })
}

/** `deleted` are those of the addresses that are deleted already. */
export async function deleteMany(
  { app: { db }, subject }: ImportContext,
  addresses: readonly Address[],
  deleted: ReadonlySet<string>,
): Promise<Outcome[]> {
  if (addresses.length === 0) return []
  const target = { key: { addresses }, visible: subject.domains, precondition: undefined }
  const deletion = (tx: Db) => deleteMailboxes(tx, target, subject.domains !== '*')
  const gone = new Set(await countably(db, 'deletes', deletion))
  return addresses.map(({ name, address }) => {
    if (gone.has(name)) return { status: 'deleted', address }
    return deleted.has(address) ? { status: 'unchanged' } : notFound()
  })
}

export function restoreOne(
  { app: { db }, subject }: ImportContext,
  key: Address,
  active: boolean,
): Promise<Outcome> {
  const target = { key, visible: subject.domains, precondition: undefined }
  return outcomeOf(async () => {
    await db.transaction().execute((tx) => restoreMailbox(tx, target))
    return { status: active ? 'unchanged' : 'restored' }
  })
}

export function renameOne(
  { app: { db }, subject }: ImportContext,
  { address, to, keepOld }: Extract<Task, { kind: 'rename' }>,
): Promise<Outcome> {
  const target = { key: address, visible: subject.domains, precondition: undefined }
  const rename: Rename = { subject, target, to, keepOld }
  return outcomeOf(async () => {
    if (await wasRenamed(db, rename)) return { status: 'unchanged', address: to.address }
    const { address: before } = address
    await db
      .transaction()
      .execute((tx) => renameMailbox(tx, rename))
      .catch((error) => (isCollision(error) ? explainLostRename(db, rename) : Promise.reject(error)))
    return { status: before === to.address ? 'unchanged' : 'renamed', address: to.address }
  })
}

/** By an earlier row or import that was the same: the old address is what that left. */
async function wasRenamed(db: Db, { subject, target: { key }, to }: Rename): Promise<boolean> {
  if (!('name' in key)) return false
  const visible = subject.domains === '*' ? null : subject.domains
  const { rows } = await sql`
    select from app.aliases as l join app.mailboxes as m on m.id = l.left_by
    where l.name = ${key.name} and l.domain = ${key.domain} and m.name = ${to.name} and m.domain = ${to.domain}
      and m.state = 'active' and l.targets = array[${to.address}::text]
      and (${visible}::text[] is null or m.domain = any (${visible}::text[]) and l.domain = any (${visible}::text[]))`.execute(
    db,
  )
  return rows.length > 0
}
