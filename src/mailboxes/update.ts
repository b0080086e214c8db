import { sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Db } from '../database.ts'
import { meets } from '../etag.ts'
import { endSessionsJobs } from '../jobs/queue.ts'
import { sameMembers } from '../merge-patch.ts'
import { problem } from '../problems.ts'
import { draw } from '../tokens/fuses.ts'
import {
  anyState,
  getMailbox,
  hasVersion,
  isTarget,
  type MailboxKey,
  type MailboxKeys,
  type MailboxTarget,
} from './store.ts'
import { givenColumns, type MailboxValues } from './values.ts'
import { type MailboxRow, viewColumns, viewJoins, writtenColumns } from './view.ts'

/** The parts of the statement that are made of the members that are sent, over m. */
function sentMembers(changes: MailboxValues) {
  const given = givenColumns(changes)
  const shown = given.filter(({ name }) => name !== 'forwarded') // what nobody sees makes no new version
  const differ = shown.map(({ name, value }) => sql`${sql.ref(`m.${name}`)} is distinct from ${value}`)
  const members = shown.flatMap(({ name }) => [sql.lit(name), sql.ref(`m.${name}`)])
  return {
    set: sql.join(given.map(({ column, value }) => sql`${column} = ${value}`)),
    differ: sql`(${sql.join(differ, sql` or `)})`,
    members: sql`jsonb_build_object(${sql.join(members)})`,
  }
}

type ChangedRow = MailboxRow & { was_locked: boolean; old_delivery: MailboxRow['delivery'] }

/** Whether nobody logs in, or no mail comes in, from now on. */
function isShut({ locked, was_locked, delivery, old_delivery }: ChangedRow): boolean {
  return (locked && !was_locked) || (delivery === 'refuse' && old_delivery === 'accept')
}

const rounds = 5

/** One statement where something changes; an edit that changes nothing leaves version and times alone. */
export async function updateMailbox(
  db: Db,
  target: MailboxTarget,
  changes: MailboxValues,
): Promise<MailboxRow> {
  const states = statesFor(changes)
  const { forwarded: _, ...shown } = changes
  for (let round = 0; round < rounds; round++) {
    const [changed] = isEmpty(changes) ? [] : await updateMailboxes(db, target, changes, states)
    if (changed) return changed
    const row = await unchanged(db, target, states)
    // else it has been renamed or changed since: for the first statement it was not there, or as asked
    if (sameMembers(row, shown)) return row
  }
  throw problem('busy', { detail: 'The mailbox is changed all the time.', retryAfterSeconds: 1 })
}

function isEmpty(changes: MailboxValues): boolean {
  return Object.values(changes).every((value) => value === undefined)
}

/**
 * Those that are another than they were, judged when they are held. What each was is found by its name, not joined: for a join
 * of thousands the planner compares each with each where it takes the table for a small one.
 */
export async function updateMailboxes(
  db: Db,
  target: MailboxTarget<MailboxKey | MailboxKeys>,
  changes: MailboxValues,
  states: MailboxRow['state'][] = ['active'],
): Promise<MailboxRow[]> {
  const sent = sentMembers(changes)
  const address = sql<string>`m.name || '@' || m.domain`
  const found = sql`${isTarget(target)} and m.state = any(${states}::text[]) and ${hasVersion(target.precondition)}`
  const { rows } = await sql<ChangedRow>`
    with held as (
      select m.name, m.locked, m.delivery, ${sent.members} as members, ${sent.differ} as differs
      from app.mailboxes as m where ${found}
      for update
    ), b as materialized (
      select jsonb_object_agg(held.name, to_jsonb(held)) filter (where held.differs) as by_name from held
    ), m as (
      update app.mailboxes as m
      set ${sent.set}, version = gen_random_uuid(), updated_at = now()
      where ${found} and (select b.by_name from b) ? m.name
      returning ${writtenColumns}, (select b.by_name from b) -> m.name as old, ${sent.members} as members
    ), event as (${insertEvents({
      action: 'mailbox.update',
      object: address,
      domain: sql`m.domain`,
      before: sql`app.members_not_in(m.old -> 'members', m.members)`,
      after: sql`app.members_not_in(m.members, m.old -> 'members')`,
      from: sql`m`,
    })}), ended as materialized (
      ${endSessionsJobs(address, sql`m where ${changes.locked === true}`)}
    )
    select ${viewColumns}, (select count(*) from ended), (m.old -> 'locked')::boolean as was_locked,
      m.old ->> 'delivery' as old_delivery
    from m ${viewJoins}`.execute(db)
  await draw(db, 'locks', rows.filter(isShut).length)
  return rows
}

/** A hold by itself reaches a deleted mailbox too, whose mail is all that is left to be kept. */
function statesFor(changes: MailboxValues): MailboxRow['state'][] {
  return Object.keys(changes).join() === 'hold' ? anyState : ['active']
}

async function unchanged(db: Db, target: MailboxTarget, states: MailboxRow['state'][]): Promise<MailboxRow> {
  const row = await getMailbox(db, target, states)
  if (!meets(target.precondition, row.version)) throw problem('precondition-failed')
  return row
}
