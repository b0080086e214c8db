import type { Address } from '../mailboxes/address.ts'
import { anyState, findMailboxes } from '../mailboxes/store.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import { deleteMany, renameOne, restoreOne, setMany } from './change-many.ts'
import { type ImportContext, makeMany } from './make-many.ts'
import { type Outcome, withLogins } from './outcomes.ts'
import type { Task } from './tasks.ts'

/**
 * Does rows that do not depend on one another (src/imports/units.ts), in the transaction that this runs in, and says
 * what became of each. What counts against a limit of the caller's token has its place here: it knows all of them.
 */
export async function applyTasks(context: ImportContext, tasks: readonly Task[]): Promise<Outcome[]> {
  const found = await findAll(context, tasks.map(addressOf))
  const active = new Map([...found].filter(([, { state }]) => state === 'active'))
  const deleted = new Set([...found.keys()].filter((address) => !active.has(address)))
  const makings = tasks.filter((task) => task.kind === 'make')
  const settings = tasks.filter((task) => task.kind === 'set')
  const deletions = tasks.filter((task) => task.kind === 'delete')
  const done = new Map<Task, Outcome>([
    ...zip(makings, await makeMany(context, makings, active)),
    ...zip(settings, await setMany(context, settings, active)),
    ...zip(deletions, await deleteMany(context, deletions.map(addressOf), deleted)),
  ])
  for (const task of tasks) {
    if (task.kind === 'restore')
      done.set(task, await restoreOne(context, task.address, active.has(task.address.address)))
    if (task.kind === 'rename') done.set(task, await renameOne(context, task))
  }
  return nameLogins(context, tasks, done)
}

function zip<A, B>(as: readonly A[], bs: readonly B[]): [A, B][] {
  return as.map((a, i) => [a, bs[i]!])
}

export function addressOf(task: Task): Address {
  return task.kind === 'make' ? task.request.address : task.address
}

/** By address, those that the caller may see, deleted ones too. */
async function findAll(
  { app: { db }, subject }: ImportContext,
  addresses: Address[],
): Promise<Map<string, MailboxRow>> {
  if (addresses.length === 0) return new Map()
  const rows = await findMailboxes(db, { key: { addresses }, visible: subject.domains }, anyState)
  return new Map(rows.map((row) => [row.address, row]))
}

/** Those that a statement has made for many are told with it; the others are looked up. */
async function nameLogins(
  context: ImportContext,
  tasks: readonly Task[],
  done: ReadonlyMap<Task, Outcome>,
): Promise<Outcome[]> {
  const unnamed = tasks.filter((task) => {
    const { status, clear_text } = done.get(task)!
    return clear_text === undefined && status !== 'failed'
  })
  const now = await findAll(context, unnamed.map(placeOf))
  return tasks.map((task) => {
    const outcome = done.get(task)!
    const row = now.get(placeOf(task).address)
    return row && row.state !== 'deleted' ? withLogins(outcome, row) : outcome
  })
}

/** Where its mailbox is afterwards. */
function placeOf(task: Task): Address {
  return task.kind === 'rename' ? task.to : addressOf(task)
}
