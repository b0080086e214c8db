import { type RawBuilder, sql } from 'kysely'
import { requireScope } from '../auth.ts'
import type { Subject } from '../subject.ts'
import { parseDestination } from './address.ts'
import type { MailboxUpdate } from './schemas.ts'

/** What a mailbox is told to do with its mail, its logins and itself; undefined = as it is, or the default. */
export interface MailboxValues {
  locked?: boolean
  quota_bytes?: number | null
  forward_to?: string[]
  /** Goes with forward_to: those of them that may be outside. */
  forwarded?: string[]
  keep_copy?: boolean
  delivery?: 'accept' | 'refuse'
  hold?: boolean
}

/** Only the members that were sent. */
export function parseMailboxValues(sent: MailboxUpdate): MailboxValues {
  const { locked, quota_bytes, forward_to, keep_copy, delivery, hold } = sent
  return {
    ...(locked !== undefined && { locked }),
    ...(quota_bytes !== undefined && { quota_bytes }),
    ...(forward_to !== undefined && { forward_to: parseForwardTo(forward_to ?? []) }),
    ...(keep_copy !== undefined && { keep_copy }),
    ...(delivery !== undefined && { delivery }),
    ...(hold !== undefined && { hold }),
  }
}

function parseForwardTo(texts: string[]): string[] {
  return [...new Set(texts.map((text, i) => parseDestination(text, `/forward_to/${i}`)))]
}

/** What lifts a hold lets the mailbox be purged, so it takes the scope for that, whether there is a hold or not. */
export function assertMayLift(subject: Subject, { hold }: MailboxValues): void {
  if (hold === false) requireScope(subject, 'mailboxes:purge')
}

const types = {
  locked: sql`boolean`,
  quota_bytes: sql`bigint`,
  forward_to: sql`text[]`,
  forwarded: sql`text[]`,
  keep_copy: sql`boolean`,
  delivery: sql`text`,
  hold: sql`boolean`,
} satisfies Record<keyof Required<MailboxValues>, RawBuilder<unknown>>

/** The columns that are given, with what they are set to: for an UPDATE of mailboxes (source m) or an INSERT. */
export function givenColumns(values: MailboxValues) {
  const given = (Object.keys(types) as (keyof MailboxValues)[]).filter((name) => values[name] !== undefined)
  return given.map((name) => ({
    name,
    column: sql.raw(name),
    value: sql`${values[name]}::${types[name]}`,
  }))
}
