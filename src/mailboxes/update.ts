import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Db } from '../database.ts'
import { meets } from '../etag.ts'
import { endSessionsJob } from '../jobs/queue.ts'
import { problem } from '../problems.ts'
import { getMailbox, hasVersion, isTarget, type MailboxTarget } from './store.ts'
import { type MailboxRow, viewColumns, viewJoins, writtenColumns } from './view.ts'

export interface MailboxChanges {
  locked?: boolean
  quota_bytes?: number | null
}

/** What a change may set, with its type in SQL. */
const settable = { locked: sql`boolean`, quota_bytes: sql`bigint` } as const satisfies Record<
  keyof MailboxChanges,
  RawBuilder<unknown>
>

/** The parts of the statement that are made of the members that are sent. */
function sentMembers(changes: MailboxChanges) {
  const members = (Object.keys(settable) as (keyof MailboxChanges)[]).filter((m) => changes[m] !== undefined)
  const sent = (member: keyof MailboxChanges) => sql`${changes[member]}::${settable[member]}`
  const column = (source: string, member: string) => sql.ref(`${source}.${member}`)
  const differ = members.map((m) => sql`${column('b', m)} is distinct from ${sent(m)}`)
  return {
    set: sql.join([sql`updated_at = now()`, ...members.map((m) => sql`${sql.ref(m)} = ${sent(m)}`)]),
    differ: differ.length === 0 ? sql`false` : sql`(${sql.join(differ, sql` or `)})`,
    of: (source: string) =>
      sql`jsonb_build_object(${sql.join(members.flatMap((m) => [sql.lit(m), column(source, m)]))})`,
  }
}

/** One statement where something changes; an edit that changes nothing leaves version and times alone. */
export async function updateMailbox(
  db: Db,
  target: MailboxTarget,
  changes: MailboxChanges,
): Promise<MailboxRow> {
  const sent = sentMembers(changes)
  const address = sql<string>`m.name || '@' || m.domain`
  const { rows } = await sql<MailboxRow>`
    with b as (
      select m.* from app.mailboxes as m
      where ${isTarget(target)} and m.state = 'active' and ${hasVersion(target.precondition)}
      for update
    ), m as (
      update app.mailboxes as m
      set ${sent.set}, version = gen_random_uuid()
      from b
      where m.name = b.name and ${sent.differ}
      returning ${writtenColumns}
    ), event as (${insertEvents({
      action: 'mailbox.update',
      object: address,
      domain: sql`m.domain`,
      before: sql`app.members_not_in(${sent.of('b')}, ${sent.of('m')})`,
      after: sql`app.members_not_in(${sent.of('m')}, ${sent.of('b')})`,
      from: sql`m join b on b.name = m.name`,
    })}), ended as materialized (
      select ${endSessionsJob(address)} from m where ${changes.locked === true}
    )
    select ${viewColumns}, (select count(*) from ended) from m ${viewJoins}`.execute(db)
  return rows[0] ?? unchanged(db, target)
}

async function unchanged(db: Db, target: MailboxTarget): Promise<MailboxRow> {
  const row = await getMailbox(db, target)
  if (!meets(target.precondition, row.version)) throw problem('precondition-failed')
  return row
}
