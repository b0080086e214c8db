import { sql } from 'kysely'
import type { Tx } from '../database.ts'
import type { Address } from '../mailboxes/address.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'

const maxDepth = 5
const maxTargets = 1000 // Postfix takes no more for one message: virtual_alias_expansion_limit

/**
 * Writes of targets come one after another, over all instances, so that two of them cannot close a loop that neither
 * of them sees. In the space of two numbers, which idempotency keys do not use.
 */
export async function lockAliasGraph(tx: Tx): Promise<void> {
  await sql`select pg_advisory_xact_lock(2822, 1)`.execute(tx)
}

/**
 * Refuses loops, and what passes too many aliases or reaches too many targets: of the alias that was just written and
 * of those above it. The graph is locked. What lies outside of `visible` is not looked at, so that a refusal tells
 * nothing of it; a loop that closes there is harmless (mail.recipients).
 */
export async function assertGraphSound(
  tx: Tx,
  alias: Pick<Address, 'name' | 'domain'>,
  visible: Subject['domains'],
): Promise<void> {
  const own = visible === '*' ? null : visible
  const { name, domain } = alias
  const { rows } = await sql<{ loops: boolean; length: number; targets: number }>`
    with below as (
      select b.name, b.domain, b.depth from app.aliases_below(${name}, ${domain}, ${own}::text[]) as b
    ), above as (
      select a.name, a.domain, max(a.depth) as depth from app.aliases_above(${name}, ${domain}, ${own}::text[]) as a
      group by a.name, a.domain
    )
    select
      exists (select from below where depth > 0 and name = ${name} and domain = ${domain}) as loops,
      (select max(depth) from below) + (select max(depth) from above) + 1 as length,
      (
        select max(r.targets) from above cross join lateral (
          select sum(cardinality(a.targets))::int as targets
          from (
            select distinct b.name, b.domain from app.aliases_below(above.name, above.domain, ${own}::text[]) as b
          ) as b join app.aliases as a on a.name = b.name and a.domain = b.domain
        ) as r
      ) as targets`.execute(tx)
  const { loops, length, targets } = rows[0]!
  if (loops) throw problem('alias-loop')
  if (length > maxDepth)
    throw problem('alias-limit-reached', { detail: `Mail would pass more than ${maxDepth} aliases.` })
  if (targets > maxTargets)
    throw problem('alias-limit-reached', { detail: `One alias would reach ${targets} targets.` })
}
