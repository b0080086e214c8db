import { sql } from 'kysely'
import { lockAliasGraph } from '../aliases/graph.ts'
import { insertEvents, recordEvent } from '../audit/record.ts'
import { allowLongStatements, planForAnySize, type Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { endSessions } from '../jobs/queue.ts'
import { unknownDomain } from '../mailboxes/ground.ts'
import { problemAt } from '../problems.ts'
import { draw } from '../tokens/fuses.ts'
import { aliasDomainProblem } from './alias-domains.ts'
import { moveAddresses } from './move-addresses.ts'
import { assertMovable, assertStepsSound, dropMirrors, findNewSteps } from './move-checks.ts'
import { lockAddresses, lockDomainsAround } from './move-locks.ts'
import { redirectDomain } from './move-redirect.ts'
import type { DomainMoved } from './move-schemas.ts'
import type { DomainName } from './name.ts'
import { type DomainRow, findDomainForUpdate, getDomain, lockDomain } from './store.ts'

export interface Move {
  from: DomainName
  to: DomainName
  /** Whether the old domain becomes an alias of the new one. */
  keepOld: boolean
  allowRoleNames: boolean
  precondition: Precondition
}

export interface Moved extends DomainMoved {
  version: string
}

/**
 * All addresses of a domain become those of another, set-based at any size. What is held, in the order in which
 * everybody holds it: the graph of aliases, the domains by their names, the mailboxes, the addresses, the aliases.
 */
export async function moveDomain(tx: Tx, move: Move): Promise<Moved> {
  const { from, to } = move
  await allowLongStatements(tx)
  await getDomain(tx, from) // what is not there waits for nobody
  await lockAliasGraph(tx)
  await lockDomainsAround(tx, move)
  const domain = await lockDomain(tx, from)
  requireVersion(move.precondition, domain.version)
  const target = await findTarget(tx, move)
  if (isDone(domain, move)) return toMoved(move, domain.version)
  await planForAnySize(tx)
  await lockAddresses(tx, move)
  const dropped = await dropMirrors(tx, move)
  await assertMovable(tx, move, target)
  const steps = await findNewSteps(tx, move)
  await redirectDomain(tx, move)
  const { active, ...counts } = await moveAddresses(tx, move)
  const aliasDomains = await moveAliasDomains(tx, move)
  await assertStepsSound(tx, steps)
  if (active > 0) await endSessions(tx, `*@${from}`)
  const moved = { ...counts, aliases_dropped: dropped, alias_domains_moved: aliasDomains }
  const addresses = moved.mailboxes_moved + moved.aliases_moved + dropped
  if (!move.keepOld && addresses + aliasDomains === 0) return toMoved(move, domain.version)
  await recordMove(tx, move, moved)
  if (!move.keepOld) await draw(tx, 'deletes', Math.max(1, addresses)) // whoever comes next may have the old ones
  const { row } = await getDomain(tx, from)
  return { ...toMoved(move, row.version), ...moved, to }
}

async function findTarget(tx: Tx, { from, to }: Move): Promise<DomainRow> {
  if (from === to) throw problemAt('alias-domain', '/to', 'A domain is not moved to itself.')
  const target = await findDomainForUpdate(tx, to)
  if (!target) throw unknownDomain('/to')
  if (target.alias_of !== null) throw aliasDomainProblem('/to')
  return target
}

/** A domain that is an alias has nothing to move, and only that of this same move may be repeated. */
function isDone({ alias_of }: DomainRow, { to, keepOld }: Move): boolean {
  if (alias_of === null) return false
  if (alias_of === to && keepOld) return true
  const detail = 'The domain in the path is an alias of another and has no addresses to move.'
  throw problemAt('alias-domain', 'path/domain', detail)
}

/** The old domain has no addresses any more, so that it can be an alias itself; returns the number of the others. */
async function moveAliasDomains(tx: Tx, { from, to, keepOld }: Move): Promise<number> {
  const { rows } = await sql<{ moved: number }>`
    with d as (
      update app.domains as d set alias_of = ${to}, version = gen_random_uuid(), updated_at = now()
      where d.alias_of = ${from} or (${keepOld} and d.name = ${from})
      returning d.name
    ), event as (${insertEvents({
      action: 'domain.update',
      object: sql`d.name`,
      domain: sql`d.name`,
      before: sql`jsonb_build_object('alias_of', ${from}::text)`,
      after: sql`jsonb_build_object('alias_of', ${to}::text)`,
      from: sql`d where d.name <> ${from}`,
    })})
    select count(*) as moved from d where d.name <> ${from}`.execute(tx)
  return rows[0]!.moved
}

type Counts = Omit<DomainMoved, 'domain' | 'to' | 'kept_as_alias'>

const nothing: Counts = {
  mailboxes_moved: 0,
  aliases_moved: 0,
  aliases_dropped: 0,
  alias_domains_moved: 0,
}

function toMoved({ from, to, keepOld }: Move, version: string): Moved {
  return { domain: from, to, kept_as_alias: keepOld, ...nothing, version }
}

/** With both names for those who may see all domains; for the holders of each, without the other. */
async function recordMove(tx: Tx, { from, to, keepOld }: Move, counts: Counts): Promise<void> {
  const action = 'domain.move'
  const { mailboxes_moved: mailboxes, aliases_moved: aliases } = counts
  const left = { kept_as_alias: keepOld, mailboxes, aliases }
  const whole = { ...left, to, alias_domains: counts.alias_domains_moved }
  await recordEvent(tx, { action, object: from, domain: null, before: { domain: from }, after: whole })
  await recordEvent(tx, { action, object: from, domain: from, before: {}, after: left })
  await recordEvent(tx, { action, object: to, domain: to, before: {}, after: { mailboxes, aliases } })
}
