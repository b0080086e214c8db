import type pg from 'pg'
import { type Doveadm, type DoveadmConfig, doveadm, findDoveadm } from './doveadm.ts'

const batch = 200
const noUser = 67 // sysexits(3) EX_NOUSER

interface Known {
  username: string
  /** As text: a Date has not all of its digits. */
  updated_at: string
}

/** As mailboxStatus tells it. */
interface Folder {
  mailbox: string
  messages: string
  vsize: string
}

type Query = <R extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<pg.QueryResult<R>>

// Dovecot writes after each change; what is still changing is looked at later.
const changed = `
  select username, updated_at::text from mail.usage
  where (checked_at is null or checked_at < updated_at) and updated_at < now() - interval '5 seconds'
    and (updated_at, username) > ($1::timestamptz, $2)
  order by updated_at, username limit ${batch}`

const longUnchecked = `
  select username, updated_at::text from mail.usage
  where checked_at < now() - interval '1 day'
  order by checked_at limit ${batch}`

/**
 * Compares usage with what the mailbox really holds: all that changed since it was last compared, since parallel
 * changes can leave Dovecot's count a little wrong; and some of the others, since a count that was lost while the
 * database was away left no mark. Repeatable; what changes in the meantime is left for the next time.
 */
export async function reconcileUsage(config: DoveadmConfig, query: Query): Promise<void> {
  const place = await findDoveadm(config)
  if (place === undefined) return
  const uncounted: string[] = []
  const compare = async (rows: Known[]) => {
    for (const row of rows) if (!(await reconcile(place, row, query))) uncounted.push(row.username)
  }
  let last: Known | undefined = { username: '', updated_at: '-infinity' }
  while (last !== undefined) {
    const { rows }: { rows: Known[] } = await query<Known>(changed, [last.updated_at, last.username])
    await compare(rows)
    last = rows[batch - 1]
  }
  await compare((await query<Known>(longUnchecked)).rows)
  if (uncounted.length > 0) throw new Error(`Dovecot could not count ${uncounted.length} mailboxes`)
}

/** Whether Dovecot could tell. */
async function reconcile(place: Doveadm, { username, updated_at }: Known, query: Query): Promise<boolean> {
  const parameters = { user: username, field: ['messages', 'vsize'], mailboxMask: ['*'] }
  const answer = await doveadm(place, 'mailboxStatus', parameters)
  if (!answer.ok && answer.exitCode === noUser) {
    await query('delete from mail.usage where username = $1 and updated_at = $2', [username, updated_at])
    return true
  }
  const held = answer.ok ? addUp(answer.result as Folder[]) : undefined
  if (held === undefined) return false
  await query(
    `update mail.usage set messages = $2, bytes = $3, checked_at = clock_timestamp()
     where username = $1 and updated_at = $4`,
    [username, held.messages, held.bytes, updated_at],
  )
  return true
}

/** Where the mail cannot be read, Dovecot says nothing of an error but lists no folder, not even the inbox. */
function addUp(folders: Folder[]): { messages: number; bytes: number } | undefined {
  if (!folders.some(({ mailbox }) => mailbox === 'INBOX')) return undefined
  const sum = (field: 'messages' | 'vsize') => folders.reduce((all, each) => all + Number(each[field]), 0)
  return { messages: sum('messages'), bytes: sum('vsize') }
}
