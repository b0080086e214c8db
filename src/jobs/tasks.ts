import type { QueryResult, QueryResultRow } from 'pg'
import {
  type Answer,
  type Doveadm,
  type DoveadmConfig,
  doveadm,
  doveadmEach,
  findDoveadm,
  wrongUsage,
} from './doveadm.ts'
import { type EndLogins, type EndSessions, endSessionsAgain, type RemoveMail } from './queue.ts'

const nothingToKick = 68 // sysexits(3) EX_NOHOST: nobody of this name is logged in

/** `*` counts only as the whole local part of a domain's mask. */
const safeMask = /^(\*|[a-z0-9_.-]+)@[a-z0-9.-]+$/

type Query = <R extends QueryResultRow>(text: string, values?: unknown[]) => Promise<QueryResult<R>>

/**
 * Ends the live sessions of whoever may no longer log in. Twice, because a login that was in flight at the first time
 * is a session at the second. Doing it again changes nothing.
 */
export async function endSessions(config: DoveadmConfig, payload: unknown, query: Query): Promise<void> {
  const { masks } = payload as EndSessions
  const place = await findDoveadm(config)
  if (place === undefined) return
  await kick(place, masks)
  await query(endSessionsAgain, [JSON.stringify({ masks }), masks.length === 1 ? masks[0] : null])
}

export async function endSessionsOnceMore(config: DoveadmConfig, payload: unknown): Promise<void> {
  const { masks } = payload as EndSessions
  const place = await findDoveadm(config)
  if (place !== undefined) await kick(place, masks)
}

/** All of them, before it fails for one. */
async function kick(place: Doveadm, masks: readonly string[]): Promise<void> {
  const safe = masks.filter((mask) => safeMask.test(mask))
  const answers = await doveadmEach(
    place,
    'kick',
    safe.map((mask) => ({ mask: [mask] })),
  )
  for (const answer of answers)
    if (!answer.ok && answer.exitCode !== nothingToKick) throw new Error(`kick ended with ${answer.exitCode}`)
  if (safe.length < masks.length) throw new Error('the mask of the sessions to end is not one')
}

/** Ends the live sessions of an account whose time is over; one that has more time again is left alone. */
export async function endLogins(config: DoveadmConfig, payload: unknown, query: Query): Promise<void> {
  const { account } = payload as EndLogins
  const { rows } = await query<{ mask: string }>(
    `select m.name || '@' || m.domain as mask
     from app.accounts as a join app.mailboxes as m on m.name = a.name
     where a.name = $1 and a.login_until <= now()`,
    [account],
  )
  if (rows.length > 0) await endSessions(config, { masks: rows.map(({ mask }) => mask) }, query)
}

/** An empty path would remove everybody's mail. */
const folderOfMailbox = /^[0-9a-f]{2}\/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const nothingThere = 75 // sysexits(3) EX_TEMPFAIL: what fsDelete says of a folder that is not there

/** Removes the mail of a purged mailbox. Doing it again changes nothing. */
export async function removeMail(config: DoveadmConfig, payload: unknown): Promise<void> {
  const { id, mask } = payload as RemoveMail
  const place = await findDoveadm(config)
  if (place === undefined) return
  const path = `${id.slice(0, 2)}/${id}`
  if (!folderOfMailbox.test(path)) throw new Error('this is not the folder of a mailbox')
  await kick(place, [mask])
  const answer = await removeFolder(place, path)
  if (!answer.ok && answer.exitCode !== nothingThere)
    throw new Error(`fsDelete ended with ${answer.exitCode}`)
}

/** Dovecot 2.4 knows by its own configuration where the mail is, and 2.3 is told; each refuses the other's request. */
async function removeFolder(place: Doveadm, path: string): Promise<Answer> {
  const folder = { recursive: true, path: [path] }
  const answer = await doveadm(place, 'fsDelete', { ...folder, filterName: '' })
  if (answer.ok || answer.exitCode !== wrongUsage) return answer
  if (!place.mailDir) throw new Error('DOVEADM_MAIL_DIR does not say where the mail is')
  const fsArgs = `dirs:prefix=${place.mailDir}/`
  return doveadm(place, 'fsDelete', { ...folder, fsDriver: 'posix', fsArgs })
}
