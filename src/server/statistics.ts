import { sql } from 'kysely'
import type { Db } from '../database.ts'

export interface Statistics {
  domains: number
  mailboxes: number
  accounts: number
  messages: number
  bytes: number
  as_of: Date
}

const largeInstallation = 10_000
const freshMs = 60_000

/** Counts at each call while that is cheap; a large installation is counted once a minute. */
export function createStatistics(db: Db, now: () => number = Date.now): () => Promise<Statistics> {
  let remembered: Statistics | undefined
  return async () => {
    const fresh = remembered && now() - remembered.as_of.getTime() < freshMs
    if (remembered && fresh && remembered.accounts >= largeInstallation) return remembered
    remembered = { ...(await count(db)), as_of: new Date(now()) }
    return remembered
  }
}

async function count(db: Db): Promise<Omit<Statistics, 'as_of'>> {
  const { rows } = await sql<Omit<Statistics, 'as_of'>>`
    select
      (select count(*) from app.domains where state = 'active') as domains,
      (select count(*) from app.mailboxes where state = 'active') as mailboxes,
      (select count(*) from app.accounts where state = 'active') as accounts,
      (u.messages - gone.messages)::bigint as messages, (u.bytes - gone.bytes)::bigint as bytes
    from (
      select coalesce(sum(messages), 0) as messages, coalesce(sum(bytes), 0) as bytes from mail.usage
    ) as u, (
      select coalesce(sum(u.messages), 0) as messages, coalesce(sum(u.bytes), 0) as bytes
      from app.mailboxes as m join mail.usage as u on u.username = m.name || '@' || m.domain
      where m.state = 'deleted'
    ) as gone`.execute(db)
  return rows[0]!
}
