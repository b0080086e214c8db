import { sql } from 'kysely'
import { assertMayTakeName } from '../accounts/create.ts'
import { recordEvent } from '../audit/record.ts'
import { mayTouch, requireScope } from '../auth.ts'
import type { Db, Tx } from '../database.ts'
import { aliasDomainProblem } from '../domains/alias-domains.ts'
import type { Writer } from '../idempotency/once.ts'
import type { Address } from '../mailboxes/address.ts'
import { unknownDomain } from '../mailboxes/ground.ts'
import { type ProblemError, problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { isCatchAll } from './address.ts'
import { assertGraphSound, lockAliasGraph } from './graph.ts'
import { type AliasRow, getAlias, insertAlias, type NewAlias } from './store.ts'
import { assertTargetsExist } from './targets.ts'

/** A role name takes the request's word for it and a scope; so does a catch-all, which stands for all of them. */
export function assertMayTakeAddress(subject: Subject, address: Address, allow: boolean | undefined): void {
  if (!mayTouch(subject, address.domain)) throw unknownDomain('/address')
  if (isCatchAll(address)) assertMayCatchAll(subject, allow)
  else assertMayTakeName(subject, address.name, allow, '/address')
}

function assertMayCatchAll(subject: Subject, allow = false): void {
  if (!allow) {
    const detail =
      'A catch-all gets the mail for role names too. Send allow_role_name: true with a token that has the scope names:reserved.'
    throw problemAt('role-name-refused', '/address', detail)
  }
  requireScope(subject, 'names:reserved')
}

export function assertMaySendAs(address: Address, sendAs: boolean | undefined): void {
  if (sendAs !== true || !isCatchAll(address)) return
  throw problemAt('send-as-refused', '/send_as', 'A catch-all would let its targets send as anybody.')
}

interface AliasCreation<Made> {
  subject: Subject
  alias: NewAlias
  writer: Writer<AliasRow, Made>
}

/** Creates the alias, and looks for the reason only where it was not created. */
export async function createAlias<Made>(db: Db, { subject, alias, writer }: AliasCreation<Made>) {
  const created = await writer
    .transaction((tx) => insertSound(tx, subject, alias))
    .catch((error: { constraint?: string }) => {
      if (error.constraint !== 'addresses_pkey') throw error
    })
  if (created) return created
  throw (await findObstacle(db, alias.address)) ?? goneMeanwhile()
}

async function insertSound(tx: Tx, subject: Subject, alias: NewAlias): Promise<AliasRow | undefined> {
  const { address, targets, forwarded } = alias
  await lockAliasGraph(tx)
  if (!(await insertAlias(tx, alias))) return undefined
  await assertTargetsExist(
    tx,
    targets,
    targets.filter((target) => !forwarded.includes(target)),
  )
  await assertGraphSound(tx, address, subject.domains)
  await recordEvent(tx, {
    action: 'alias.create',
    object: address.address,
    domain: address.domain,
    after: { targets, send_as: alias.send_as },
  })
  return getAlias(tx, { address, visible: subject.domains })
}

interface Obstacle {
  domain: string | null
  alias_of: string | null
  kind: 'mailbox' | 'alias' | null
  purge_at: Date | null
}

async function findObstacle(db: Db, { address, name, domain }: Address): Promise<ProblemError | undefined> {
  const { rows } = await sql<Obstacle>`
    select d.name as domain, d.alias_of, x.kind, m.purge_at
    from (select) as one
      left join app.domains as d on d.name = ${domain} and d.state = 'active'
      left join app.addresses as x on x.name = ${name} and x.domain = d.name
      left join app.mailboxes as m on m.name = x.name and m.domain = x.domain`.execute(db)
  const { domain: found, alias_of, kind, purge_at } = rows[0]!
  if (found === null) return unknownDomain('/address')
  if (alias_of !== null) return aliasDomainProblem('/address')
  if (kind === null) return undefined
  if (kind === 'alias') return problem('alias-exists', { conflict: { kind, address } })
  if (purge_at !== null) return problem('mailbox-deleted', { conflict: { kind, address, purge_at } })
  return problem('mailbox-exists', { conflict: { kind, address } })
}

function goneMeanwhile(): ProblemError {
  return problem('busy', {
    detail: 'The address was taken and freed again at this moment.',
    retryAfterSeconds: 1,
  })
}
