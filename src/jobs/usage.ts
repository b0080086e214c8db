import type pg from 'pg'
import { type Doveadm, type DoveadmConfig, doveadm, findDoveadm } from './doveadm.ts'

const batch = 200
const settledSeconds = 5 // Dovecot writes after each change; what is still changing is looked at later
const noUser = 67 // sysexits(3) EX_NOUSER

interface Changed {
  username: string
  updated_at: Date
}

type Query = <R extends pg.QueryResultRow>(text: string, values?: unknown[]) => Promise<pg.QueryResult<R>>

/**
 * Compares the usage that changed since it was last compared with what the mailbox really holds. Repeatable; what
 * changes in the meantime is left for the next time.
 */
export async function reconcileUsage(config: DoveadmConfig, query: Query): Promise<void> {
  const place = await findDoveadm(config)
  if (place === undefined) return
  for (;;) {
    const { rows } = await query<Changed>(
      `select username, updated_at from mail.usage
       where (checked_at is null or checked_at < updated_at) and updated_at < now() - make_interval(secs => $1)
       order by updated_at limit $2`,
      [settledSeconds, batch],
    )
    for (const row of rows) await reconcile(place, row, query)
    if (rows.length < batch) return
  }
}

async function reconcile(place: Doveadm, { username, updated_at }: Changed, query: Query): Promise<void> {
  const answer = await doveadm(place, 'mailboxStatus', {
    user: username,
    field: ['messages', 'vsize'],
    totalSum: true,
    mailboxMask: ['*'],
  })
  if (!answer.ok) {
    if (answer.exitCode !== noUser) throw new Error(`mailboxStatus ended with ${answer.exitCode}`)
    await query('delete from mail.usage where username = $1', [username])
    return
  }
  const [status] = answer.result as [{ messages: string; vsize: string }?]
  await query(
    `update mail.usage set messages = $2, bytes = $3, checked_at = clock_timestamp()
     where username = $1 and updated_at = $4`,
    [username, Number(status?.messages ?? 0), Number(status?.vsize ?? 0), updated_at],
  )
}
