import type { Db } from '../database.ts'
import type { DomainName } from './name.ts'

const largeDomain = 1_000
const largePage = 10_000
const freshMs = 60_000

export type MailboxCounts = (names: DomainName[]) => Promise<Map<DomainName, number>>

/**
 * Counts the active mailboxes of domains for a list. The count of a large domain is remembered for a
 * minute, so that a page of a list does not count a million rows at each call; small ones are always counted,
 * unless they are many on one page.
 */
export function createMailboxCounts(db: Db, now: () => number = Date.now): MailboxCounts {
  const remembered = new Map<DomainName, { count: number; until: number }>()

  return async (names) => {
    for (const [name, { until }] of remembered) if (until <= now()) remembered.delete(name)
    const counts = await countMailboxes(
      db,
      names.filter((name) => !remembered.has(name)),
    )
    const isLargePage = [...counts.values()].reduce((sum, count) => sum + count, 0) >= largePage
    for (const [name, count] of counts) {
      if (count >= largeDomain || isLargePage) remembered.set(name, { count, until: now() + freshMs })
    }
    return new Map(names.map((name) => [name, remembered.get(name)?.count ?? counts.get(name) ?? 0]))
  }
}

export async function countMailboxes(db: Db, names: DomainName[]): Promise<Map<DomainName, number>> {
  if (names.length === 0) return new Map()
  const rows = await db
    .selectFrom('mailboxes')
    .select(['domain', (eb) => eb.fn.countAll<number>().as('count')])
    .where('domain', 'in', names)
    .where('state', '=', 'active')
    .groupBy('domain')
    .execute()
  return new Map(rows.map((row) => [row.domain, row.count]))
}
