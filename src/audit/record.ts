/**
 * How an event is written: always in the transaction of its change, so that there is neither without the other.
 *
 * - In a statement that changes rows, as one more part of it: `, event as (${insertEvents({ … })})`. It writes one
 *   event for each row of `from`, and no round trip more.
 * - In a transaction that has read the row before: `recordChange(tx, { action, object, domain, before, after })`,
 *   which writes only the members that differ, and nothing where none does. `recordEvent` writes what it is given.
 *
 * Who did it is taken from the request, or from what a job does for one (`actFor`); in other jobs nobody did, and subject and issuer are null. Never a secret, nor
 * anything derived from one. An event that tells of two domains is written once for each, with what its holders may know.
 */
import { isIP } from 'node:net'
import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'
import { currentActor } from '../request-context.ts'
import { type Action, type Kind, levelOf } from './actions.ts'

export interface EventSource {
  action: Action
  /** SQL expressions over `from`. */
  object: RawBuilder<unknown>
  /** null where only callers with all domains may see it. */
  domain: RawBuilder<unknown> | null
  /** jsonb; left out where the object was not there before, or is not there any more. */
  before?: RawBuilder<unknown>
  after?: RawBuilder<unknown>
  level?: 'info' | 'alert'
  /** Where the rows come from: what stands behind FROM. */
  from: RawBuilder<unknown>
  /** Whoever does it now, unless a prepared statement is told each time. */
  by?: Actor
}

export interface Actor {
  subject: string | null
  issuer: string | null
  tokenId: string | null
  address: string | null
  requestId: string | null
}

/** The statement that writes an event for each row of `from`. */
export function insertEvents(event: EventSource): RawBuilder<unknown> {
  const {
    action,
    object,
    domain,
    before = sql`null`,
    after = sql`null`,
    level = 'info',
    from,
    by = actor(),
  } = event
  const { subject, issuer, tokenId, address, requestId } = by
  const kind = kindOf(action)
  return sql`
    insert into app.audit_events
      (name, action, kind, object, domain, level, before, after, subject, issuer, token_id, address, request_id)
    select ${nameOf(kind, object)}, ${action}, ${kind}, ${object}, ${domain}, ${level}, ${before}::jsonb, ${after}::jsonb,
      ${subject}, ${issuer}, ${tokenId}, ${address}, ${requestId}
    from ${from}`
}

/** As JavaScript writes a moment, so that all events write it alike. */
export function moment(at: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`to_char(${at}::timestamptz at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
}

export interface Event {
  action: Action
  object: string
  domain: string | null
  before?: object | null
  after?: object | null
}

export async function recordEvent(tx: Tx, event: Event): Promise<void> {
  const { action, object, domain, before, after } = event
  const source: EventSource = {
    action,
    object: sql`${object}::text`,
    domain: sql`${domain}::text`,
    level: levelOf(after),
    from: sql`(select) as once`,
    ...(before && { before: sql`${JSON.stringify(before)}::jsonb` }),
    ...(after && { after: sql`${JSON.stringify(after)}::jsonb` }),
  }
  await insertEvents(source).execute(tx)
}

/** `before` and `after` are rows; `version` and `updated_at` change with every change and are left out. */
export async function recordChange(
  tx: Tx,
  { before, after, ...event }: Omit<Event, 'before' | 'after'> & { before: object; after: object },
): Promise<void> {
  const changes = { before: membersNotIn(before, after), after: membersNotIn(after, before) }
  if (Object.keys(changes.after).length === 0) return
  await recordEvent(tx, { ...event, ...changes })
}

const unspoken = new Set(['version', 'updated_at'])

function membersNotIn(one: object, other: object): object {
  const entries = Object.entries(one).filter(
    ([member, value]) =>
      !unspoken.has(member) && JSON.stringify(value) !== JSON.stringify(other[member as keyof object]),
  )
  return Object.fromEntries(entries)
}

function kindOf(action: Action): Kind {
  return action.split('.')[0] as Kind
}

function nameOf(kind: Kind, object: RawBuilder<unknown>): RawBuilder<unknown> {
  if (kind === 'account') return object
  return kind === 'mailbox' || kind === 'alias' ? sql`split_part(${object}, '@', 1)` : sql`''`
}

/** Whoever does what is done now. */
export function actor(): Actor {
  const request = currentActor()
  const { id, issuer, tokenId } = request?.subject ?? {}
  return {
    subject: id ?? null,
    issuer: id === undefined ? null : (issuer ?? ''),
    tokenId: tokenId === undefined ? null : printable(tokenId),
    // a forwarded address is what a proxy wrote
    address: request !== undefined && isIP(request.ip) !== 0 ? request.ip : null,
    requestId: request?.id ?? null,
  }
}

/** An issuer may put anything into a jti, and Postgres has no text with a NUL in it. */
function printable(text: string): string {
  return text.slice(0, 255).replace(/[^ -~]/g, '?')
}
