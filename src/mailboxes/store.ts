import { type RawBuilder, sql } from 'kysely'
import type { AccountName } from '../accounts/name.ts'
import type { Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import type { Precondition } from '../etag.ts'
import { prepare } from '../prepared.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { type Address, isMailboxId, lookUpAddress } from './address.ts'
import { type MailboxRow, viewColumns, viewJoins } from './view.ts'

/** What the path names: an id, or an address. */
export type MailboxKey = { id: string } | { name: AccountName; domain: DomainName }

/** Those of an import, which are changed together. */
export interface MailboxKeys {
  addresses: readonly Address[]
}

export function parseMailboxKey(text: string): MailboxKey {
  return isMailboxId(text) ? { id: text } : lookUpAddress(text)
}

export interface MailboxTarget<Key = MailboxKey> {
  key: Key
  visible: Subject['domains']
  precondition: Precondition
  /** Only where it is deleted and its time is over. */
  expired?: true
}

/** The condition that finds the mailbox (source m), where the caller may see it. */
export function isTarget({
  key,
  visible,
  expired,
}: Omit<MailboxTarget<MailboxKey | MailboxKeys>, 'precondition'>): RawBuilder<boolean> {
  const named = isNamed(key)
  const own = visible === '*' ? sql`true` : sql`m.domain = any(${visible}::text[])`
  const due = expired ? sql`m.state = 'deleted' and m.purge_at <= now() and not m.hold` : sql`true`
  return sql`${named} and ${own} and ${due}`
}

function isNamed(key: MailboxKey | MailboxKeys): RawBuilder<unknown> {
  if ('id' in key) return sql`m.id = ${key.id}`
  if ('name' in key) return sql`m.name = ${key.name} and m.domain = ${key.domain}`
  // one scan of the index: a join would be planned as if the table were as small as when it was last analyzed
  const names = key.addresses.map(({ name }) => name)
  const addresses = key.addresses.map(({ address }) => address)
  return sql`m.name = any(${names}::text[]) and m.name || '@' || m.domain = any(${addresses}::text[])`
}

// An entity tag that is no UUID was never given out, so it is left out.
export function hasVersion(precondition: Precondition): RawBuilder<boolean> {
  if (precondition === undefined || precondition === '*') return sql`true`
  return sql`m.version = any(${precondition.filter(isMailboxId)}::uuid[])`
}

export async function findMailbox(
  db: Db,
  { key, visible }: Pick<MailboxTarget, 'key' | 'visible'>,
  states: MailboxRow['state'][] = ['active'],
): Promise<MailboxRow | undefined> {
  const find = 'id' in key ? findById : findByAddress
  const rows = await (visible === '*' ? find.anywhere : find.within)(db, {
    ...key,
    visible,
    states,
  } as Sought)
  return rows[0]
}

interface Sought {
  id: string
  name: AccountName
  domain: DomainName
  visible: DomainName[]
  states: MailboxRow['state'][]
}

const findById = prepareFind('mailbox-by-id', ({ id }) => ({ id }))
const findByAddress = prepareFind('mailbox-by-address', ({ name, domain }) => ({ name, domain }))

/** Without domains that the caller is limited to, and with them. */
function prepareFind(name: string, keyOf: (sought: Sought) => MailboxKey) {
  return {
    anywhere: prepare<Sought, MailboxRow>(name, (sought) =>
      selectMailboxes({ key: keyOf(sought), visible: '*' }, sought.states),
    ),
    within: prepare<Sought, MailboxRow>(`${name}-within`, (sought) =>
      selectMailboxes({ key: keyOf(sought), visible: sought.visible }, sought.states),
    ),
  }
}

export async function findMailboxes(
  db: Db,
  target: Pick<MailboxTarget<MailboxKeys>, 'key' | 'visible'>,
  states: MailboxRow['state'][] = ['active'],
): Promise<MailboxRow[]> {
  return (await selectMailboxes(target, states).execute(db)).rows
}

function selectMailboxes(
  target: Pick<MailboxTarget<MailboxKey | MailboxKeys>, 'key' | 'visible'>,
  states: MailboxRow['state'][],
): RawBuilder<MailboxRow> {
  return sql<MailboxRow>`
    select ${viewColumns} from app.mailboxes as m ${viewJoins}
    where ${isTarget(target)} and m.state = any(${states}::text[])`
}

/** Before an answer that was kept: it is shown to those only who may see the mailbox that the path names. */
export async function assertMayName(db: Db, { domains: visible }: Subject, key: MailboxKey): Promise<void> {
  if (visible === '*') return
  if ('id' in key) await getMailbox(db, { key, visible }, anyState)
  else if (!visible.includes(key.domain)) throw problem('mailbox-not-found')
}

export async function getMailbox(...target: Parameters<typeof findMailbox>): Promise<MailboxRow> {
  const row = await findMailbox(...target)
  if (row) return row
  throw problem('mailbox-not-found')
}

type LockedMailbox = Pick<MailboxRow, 'state' | 'version' | 'forward_to'> & {
  name: AccountName
  forwarded: string[]
}

/** Holds the mailbox until the transaction ends; undefined where it is not in one of these states. */
export async function lockMailbox(
  tx: Tx,
  target: Omit<MailboxTarget, 'precondition'>,
  states: MailboxRow['state'][] = ['active'],
): Promise<LockedMailbox | undefined> {
  const { rows } = await sql<LockedMailbox>`
    select m.name, m.state, m.version, m.forward_to, m.forwarded from app.mailboxes as m
    where ${isTarget(target)} and m.state = any(${states}::text[])
    for update`.execute(tx)
  return rows[0]
}

export const anyState: MailboxRow['state'][] = ['active', 'deleted']
