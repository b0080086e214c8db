import { type Insertable, type Selectable, sql, type Updateable } from 'kysely'
import { levelOf } from '../audit/actions.ts'
import { insertEvents, recordChange } from '../audit/record.ts'
import type { Database, Db, Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import type { Answer } from '../idempotency/once.ts'
import { endSessions } from '../jobs/queue.ts'
import { sameMembers } from '../merge-patch.ts'
import { type ProblemError, problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { draw } from '../tokens/fuses.ts'
import { assertNoLoopsThrough, assertWithoutAddresses, prepareAliasOf } from './alias-domains.ts'
import { countMailboxes } from './mailbox-counts.ts'
import { dropUnlistedVerifiers, removesMechanism } from './mechanisms.ts'
import { type DomainName, unicodeName } from './name.ts'
import type { Domain, DomainListQuery } from './schemas.ts'

const columns = [
  'name',
  'state',
  'locked',
  'authentication',
  'secure_password_mechanisms',
  'mail_server',
  'postmaster_address',
  'mailbox_limit',
  'default_quota_bytes',
  'accepts_mail',
  'alias_of',
  'purge_at',
  'version',
  'created_at',
  'updated_at',
] as const

export type DomainRow = Pick<Selectable<Database['domains']>, (typeof columns)[number]>
export type DomainValues = Omit<Insertable<Database['domains']>, 'name'>

export function toDomain(
  { version: _, ...row }: DomainRow,
  mailboxCount: number,
  { domains: visible }: Pick<Subject, 'domains'>,
): Domain {
  const shown = visible === '*' || (row.alias_of !== null && visible.includes(row.alias_of))
  return {
    ...row,
    alias_of: shown ? row.alias_of : null,
    unicode_name: unicodeName(row.name),
    mailbox_count: mailboxCount,
  }
}

export function toCreatedAnswer(row: DomainRow): Answer<Domain> {
  return {
    status: 201,
    version: row.version,
    location: `/v1/domains/${row.name}`,
    body: toDomain(row, 0, { domains: '*' }),
  }
}

/** undefined where the name is held: `refuseDomain` says by what. */
export function insertDomain(db: Db, name: DomainName, values: DomainValues): Promise<DomainRow | undefined> {
  return db
    .with('d', (insertion) =>
      insertion
        .insertInto('domains')
        .values({ name, ...values })
        .onConflict((conflict) => conflict.constraint('domains_pkey').doNothing())
        .returning(columns),
    )
    .with('event', () => sql<object>`(${creationEvent(values)})`)
    .selectFrom('d')
    .select(columns)
    .executeTakeFirst()
}

function creationEvent(values: DomainValues) {
  const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null))
  return insertEvents({
    action: 'domain.create',
    object: sql`d.name`,
    domain: sql`d.name`,
    level: levelOf(given),
    after: sql`${JSON.stringify(given)}::jsonb`,
    from: sql`d`,
  })
}

/** A name held by a deleted domain is told apart from one in use. */
export async function refuseDomain(db: Db, name: DomainName): Promise<never> {
  const holder = await db
    .selectFrom('domains')
    .select(['state', 'purge_at'])
    .where('name', '=', name)
    .executeTakeFirst()
  if (holder?.state === 'deleted') throw domainDeleted(name, holder.purge_at)
  throw problem('domain-exists', { conflict: { kind: 'domain', address: name } })
}

export function domainDeleted(name: DomainName, purge_at: Date | null): ProblemError {
  return problem('domain-deleted', { conflict: { kind: 'domain', address: name, purge_at } })
}

export async function getDomain(db: Db, name: DomainName): Promise<{ row: DomainRow; mailboxCount: number }> {
  const { mailbox_count, ...row } = await db
    .selectFrom('domains')
    .select(columns)
    .select((eb) =>
      eb
        .selectFrom('mailboxes')
        .select((m) => m.fn.countAll<number>().as('count'))
        .whereRef('mailboxes.domain', '=', 'domains.name')
        .where('mailboxes.state', '=', 'active')
        .$asScalar()
        .as('mailbox_count'),
    )
    .where('name', '=', name)
    .where('state', '=', 'active')
    .executeTakeFirstOrThrow(() => problem('domain-not-found'))
  return { row, mailboxCount: Number(mailbox_count) }
}

export interface DomainListOptions extends Omit<DomainListQuery, 'cursor'> {
  after: string | undefined
}

/** One row more than `limit`, where there is one. */
export function listDomains(
  db: Db,
  visible: Subject['domains'],
  options: DomainListOptions,
): Promise<DomainRow[]> {
  const { state, after, limit } = options
  const prefix = options.prefix?.toLowerCase()
  let query = db.selectFrom('domains').select(columns).where('state', '=', state)
  if (visible !== '*') query = query.where('name', '=', sql<DomainName>`any(${visible}::text[])`)
  if (prefix !== undefined)
    query = query.where(sql<boolean>`starts_with(name, ${prefix})`).where(sql<boolean>`name >= ${prefix}`)
  if (after !== undefined) query = query.where(sql<boolean>`name > ${after}`)
  return query
    .orderBy('name')
    .limit(limit + 1)
    .execute()
}

/**
 * Waits for the creates that are running in the domain, and holds back new ones until the transaction
 * ends: they hold its row FOR KEY SHARE. So what is counted or decided afterwards stays true.
 */
export function findDomainForUpdate(
  tx: Tx,
  name: DomainName,
  states: DomainRow['state'][] = ['active'],
): Promise<DomainRow | undefined> {
  return tx
    .selectFrom('domains')
    .select(columns)
    .where('name', '=', name)
    .where('state', 'in', states)
    .forUpdate()
    .executeTakeFirst()
}

export async function lockDomain(...target: Parameters<typeof findDomainForUpdate>): Promise<DomainRow> {
  const domain = await findDomainForUpdate(...target)
  if (domain) return domain
  throw problem('domain-not-found')
}

export interface DomainChange {
  name: DomainName
  changes: Updateable<Database['domains']>
  precondition: Precondition
}

export async function updateDomain(tx: Tx, { name, changes, precondition }: DomainChange) {
  if (changes.alias_of) await prepareAliasOf(tx, name, changes.alias_of)
  const before = await lockDomain(tx, name)
  requireVersion(precondition, before.version)
  const becomesAlias = Boolean(changes.alias_of) && before.alias_of === null
  if (becomesAlias) await assertWithoutAddresses(tx, name)
  const row = sameMembers(before, changes) ? before : await writeDomain(tx, name, changes)
  if (row.alias_of !== null && row.alias_of !== before.alias_of) await assertNoLoopsThrough(tx, name)
  await recordChange(tx, { action: 'domain.update', object: name, domain: name, before, after: row })
  if (row.locked && !before.locked) await endSessions(tx, `*@${name}`)
  if (removesMechanism(before, row)) await dropUnlistedVerifiers(tx, name)
  const counts = await countMailboxes(tx, [name])
  const mailboxCount = counts.get(name) ?? 0
  if (isShut(before, row)) await draw(tx, 'locks', Math.max(1, mailboxCount))
  return { row, mailboxCount }
}

/** Whether nobody logs in, or no mail comes in, from now on. */
function isShut(before: DomainRow, { locked, accepts_mail }: DomainRow): boolean {
  return (locked && !before.locked) || (!accepts_mail && before.accepts_mail)
}

function writeDomain(tx: Tx, name: DomainName, changes: Updateable<Database['domains']>): Promise<DomainRow> {
  return tx
    .updateTable('domains')
    .set({ ...changes, version: sql`gen_random_uuid()`, updated_at: sql`now()` })
    .where('name', '=', name)
    .returning(columns)
    .executeTakeFirstOrThrow()
}
