import { sql } from 'kysely'
import { type AccountName, assertNameFits } from '../accounts/name.ts'
import { lockAliasGraph } from '../aliases/graph.ts'
import { removeAlias } from '../aliases/store.ts'
import { insertEvents, recordEvent } from '../audit/record.ts'
import type { Db, Tx } from '../database.ts'
import { aliasDomainProblem } from '../domains/alias-domains.ts'
import { findDomainForUpdate } from '../domains/store.ts'
import { requireVersion } from '../etag.ts'
import { endLogins, endSessions } from '../jobs/queue.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { draw } from '../tokens/fuses.ts'
import type { Address } from './address.ts'
import { findCollision, type Ground, lookUpGround, unknownDomain } from './ground.ts'
import { assertRoom } from './insert.ts'
import { moveMailbox } from './move.ts'
import { findOldAddresses, isOwn, lockDomainsAround } from './old-addresses.ts'
import { redirectTargets } from './redirect.ts'
import { getMailbox, lockMailbox, type MailboxTarget } from './store.ts'
import type { MailboxRow } from './view.ts'

export interface Rename {
  subject: Subject
  target: MailboxTarget
  to: Address
  /** Whether the old address goes on as an alias of the new one, and nobody gets the name. */
  keepOld: boolean
}

const pointer = '/address'

/**
 * Gives the mailbox another address: both logins and whatever sends to it go along, the mail and the id stay. The graph
 * of aliases is held first, then the domains in the order of their names, then the mailbox, as everybody does. Rejects
 * where the name is taken meanwhile: see `isCollision`.
 */
export async function renameMailbox(tx: Tx, rename: Rename): Promise<MailboxRow> {
  const { target, to } = rename
  await getMailbox(tx, target) // what is not there, or not the caller's, waits for nobody
  await lockAliasGraph(tx)
  const { name, domain } = await getMailbox(tx, target)
  const redirections = await findOldAddresses(tx, { name, domain }, rename)
  const { domains: visible } = rename.subject
  await lockDomainsAround(tx, [domain, to.domain], redirections, visible)
  // only there: whatever moves it to another domain was done before this one was held
  const locked = await lockMailbox(tx, { ...target, visible: [domain] })
  if (!locked) throw problem('mailbox-not-found')
  requireVersion(target.precondition, locked.version)
  await lockAccountOf(tx, locked.name)
  const before = await getMailbox(tx, target)
  if (before.address === to.address) return before
  await makeWay(tx, rename, before)
  await moveMailbox(tx, before, to, rename.keepOld)
  for (const one of redirections) await redirectTargets(tx, one, visible)
  await endSessions(tx, before.address)
  if (before.login_until) await moveLoginsEnd(tx, before, to)
  await recordRename(tx, rename, before)
  if (!rename.keepOld) await draw(tx, 'deletes', 1) // whoever comes next may have the old address
  return getMailbox(tx, { ...target, key: to })
}

/** So that no new password or end of the logins comes between what is read of it and what is written. */
async function lockAccountOf(tx: Tx, name: string): Promise<void> {
  await tx
    .selectFrom('accounts')
    .select('name')
    .where('name', '=', name as AccountName)
    .forUpdate()
    .execute()
}

/** Throws what stands against the new address, as for a create. An alias that an earlier rename left there gives way. */
async function makeWay(tx: Tx, { subject, to }: Rename, before: MailboxRow): Promise<void> {
  if (await isOwnOldAddress(tx, to, before)) await giveWay(tx, to, before)
  await releaseOwnName(tx, to, before, subject.domains)
  const ground = await lookUpGround(tx, to)
  assertDomainFits(ground)
  if (before.authentication === 'local') assertNameFits(to.name, ground.local_name_max_length, pointer)
  const taken = to.name === before.name ? aliasAt(ground, to) : collisionOf(ground, to, subject)
  if (taken) throw taken
  if (to.domain === before.domain) return
  const domain = await findDomainForUpdate(tx, to.domain)
  if (!domain) throw unknownDomain(pointer)
  await assertRoom(tx, domain)
}

async function isOwnOldAddress(tx: Tx, { name, domain }: Address, { address, id }: MailboxRow) {
  const { rows } = await sql`
    select from app.aliases as a
    where a.name = ${name} and a.domain = ${domain} and a.left_by = ${id}
      and a.targets = array[${address}::text]`.execute(tx)
  return rows.length > 0
}

async function giveWay(tx: Tx, to: Address, { address }: MailboxRow): Promise<void> {
  await removeAlias(tx, to)
  const before = { targets: [address] }
  await recordEvent(tx, { action: 'alias.delete', object: to.address, domain: to.domain, before })
}

/**
 * The name that an earlier rename left in another domain of the caller: the alias stays, and the mailbox has its name
 * back. Elsewhere the alias is not the caller's to change, and the name is taken.
 */
async function releaseOwnName(
  tx: Tx,
  { name }: Address,
  { address, id }: MailboxRow,
  visible: Subject['domains'],
): Promise<void> {
  await sql`
    with x as (
      update app.addresses as x set holds_name = false
      from app.aliases as a
      where x.name = ${name} and x.kind = 'alias' and x.holds_name and a.name = x.name and a.domain = x.domain
        and a.left_by = ${id} and a.targets = array[${address}::text] and ${isOwn(visible, sql`x.domain`)}
      returning x.name, x.domain
    ), a as (
      update app.aliases as a set version = gen_random_uuid(), updated_at = now()
      from x where a.name = x.name and a.domain = x.domain
    ), event as (${insertEvents({
      action: 'alias.update',
      object: sql`x.name || '@' || x.domain`,
      domain: sql`x.domain`,
      before: sql`jsonb_build_object('holds_name', true)`,
      after: sql`jsonb_build_object('holds_name', false)`,
      from: sql`x`,
    })})
    delete from app.accounts as h using x where h.name = x.name and h.state = 'held'`.execute(tx)
}

function assertDomainFits({ domain, alias_of }: Ground): void {
  if (domain === null) throw unknownDomain(pointer)
  if (alias_of !== null) throw aliasDomainProblem(pointer)
}

function collisionOf(ground: Ground, address: Address, subject: Subject) {
  const wish = { address, pointer, createAccount: true, authentication: undefined }
  return findCollision(ground, wish, subject)
}

function aliasAt({ alias_here }: Ground, { address }: Address) {
  return alias_here ? problem('alias-exists', { conflict: { kind: 'alias', address } }) : undefined
}

/** The job is known by the name of the account. */
async function moveLoginsEnd(tx: Tx, { name, login_until }: MailboxRow, to: Address): Promise<void> {
  await endLogins(tx, name, null)
  await endLogins(tx, to.name, login_until)
}

/** Once for each of two domains, and each time without the address in the other one. */
async function recordRename(tx: Tx, { to, keepOld }: Rename, { address, domain }: MailboxRow): Promise<void> {
  const action = 'mailbox.rename'
  const left = { address: to.domain === domain ? to.address : null, kept_as_alias: keepOld }
  await recordEvent(tx, { action, object: address, domain, before: { address }, after: left })
  if (to.domain === domain) return
  const came = { object: to.address, domain: to.domain, after: { address: to.address } }
  await recordEvent(tx, { action, before: { address: null }, ...came })
}

/** What stands against the address after a race for it was lost. */
export async function explainLostRename(db: Db, { subject, to }: Rename): Promise<never> {
  const ground = await lookUpGround(db, to)
  assertDomainFits(ground)
  const taken = collisionOf(ground, to, subject)
  if (taken) throw taken
  throw problem('busy', {
    detail: 'The address was taken and freed again at this moment.',
    retryAfterSeconds: 1,
  })
}
