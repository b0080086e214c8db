import type { Db } from '../database.ts'
import type { DomainName } from './name.ts'
import type { DomainRow } from './store.ts'

const largeDomain = 1_000
const largePage = 10_000
const freshMs = 60_000

type Domain = Pick<DomainRow, 'name' | 'created_at'>

export type MailboxCounts = (domains: Domain[]) => Promise<Map<DomainName, number>>

/**
 * Counts the active mailboxes of domains for a list. The count of a large domain is remembered for a
 * minute, so that a page of a list does not count a million rows at each call; small ones are always counted,
 * unless they are many on one page.
 */
export function createMailboxCounts(db: Db, now: () => number = Date.now): MailboxCounts {
  const remembered = new Map<string, { count: number; until: number }>()

  return async (domains) => {
    for (const [key, { until }] of remembered) if (until <= now()) remembered.delete(key)
    const unknown = domains.filter((domain) => !remembered.has(keyOf(domain)))
    const counts = await countMailboxes(
      db,
      unknown.map(({ name }) => name),
    )
    const isLargePage = [...counts.values()].reduce((sum, count) => sum + count, 0) >= largePage
    for (const domain of unknown) {
      const count = counts.get(domain.name) ?? 0
      if (count >= largeDomain || isLargePage)
        remembered.set(keyOf(domain), { count, until: now() + freshMs })
    }
    const countOf = (domain: Domain) => remembered.get(keyOf(domain))?.count ?? counts.get(domain.name) ?? 0
    return new Map(domains.map((domain) => [domain.name, countOf(domain)]))
  }
}

/** One that is removed and made anew may have another holder. */
function keyOf({ name, created_at }: Domain): string {
  return `${name} ${created_at.toISOString()}`
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
