import { sql } from 'kysely'
import type { Db } from '../database.ts'
import { createCounts } from '../large-counts.ts'

export interface Statistics {
  domains: number
  mailboxes: number
  accounts: number
  messages: number
  bytes: number
  as_of: Date
}

const largeInstallation = 10_000

export function createStatistics(db: Db): () => Promise<Statistics> {
  const counts = createCounts(db, { isLarge: () => isLarge(db), count })
  return () => counts('')
}

async function isLarge(db: Db): Promise<boolean> {
  const { rows } = await sql<{ accounts: number }>`
    select count(*) as accounts from (select from app.accounts limit ${largeInstallation}) as a`.execute(db)
  return rows[0]?.accounts === largeInstallation
}

async function count(db: Db): Promise<Statistics> {
  const { rows } = await sql<Statistics>`
    select
      (select count(*) from app.domains where state = 'active') as domains,
      (select count(*) from app.mailboxes where state = 'active') as mailboxes,
      (select count(*) from app.accounts where state = 'active') as accounts,
      (u.messages - gone.messages)::bigint as messages, (u.bytes - gone.bytes)::bigint as bytes, now() as as_of
    from (
      select coalesce(sum(messages), 0) as messages, coalesce(sum(bytes), 0) as bytes from mail.usage
    ) as u, (
      select coalesce(sum(u.messages), 0) as messages, coalesce(sum(u.bytes), 0) as bytes
      from app.mailboxes as m join mail.usage as u on u.username = m.name || '@' || m.domain
      where m.state = 'deleted'
    ) as gone`.execute(db)
  return rows[0]!
}
