import { sql } from 'kysely'
import { assertGraphSound, lockAliasGraph } from '../aliases/graph.ts'
import type { Tx } from '../database.ts'
import { type ProblemError, problem, problemAt } from '../problems.ts'
import type { DomainName } from './name.ts'

const pointer = '/alias_of'

/** No address can be made in a domain that stands for another. */
export function aliasDomainProblem(at: string): ProblemError {
  const detail = 'This domain is an alias of another. Its addresses are those of the other: make it there.'
  return problemAt('alias-domain', at, detail)
}

/**
 * Before a domain becomes an alias of another: holds that one, so that it is not deleted meanwhile. All such changes
 * come one after another, so that two domains cannot become aliases of each other.
 */
export async function prepareAliasOf(tx: Tx, name: DomainName, target: DomainName): Promise<void> {
  if (name === target) throw problemAt('alias-domain', pointer, 'A domain is no alias of itself.')
  await lockAliasGraph(tx)
  const { rows } = await sql<{ alias_of: DomainName | null }>`
    select d.alias_of from app.domains as d where d.name = ${target} and d.state = 'active' for key share`.execute(
    tx,
  )
  if (!rows[0]) throw problemAt('unknown-domain', pointer, 'There is no such domain here.')
  if (rows[0].alias_of !== null)
    throw problemAt('alias-domain', pointer, 'That domain is an alias itself. Name the one it stands for.')
}

/** The domain is locked. */
export async function assertWithoutAddresses(tx: Tx, name: DomainName): Promise<void> {
  await assertNoAliasDomains(tx, name)
  const address = await tx
    .selectFrom('addresses')
    .select('name')
    .where('domain', '=', name)
    .limit(1)
    .executeTakeFirst()
  if (address) throw problem('domain-has-addresses')
}

/** The domain is locked, so that none can become one. */
export async function assertNoAliasDomains(tx: Tx, name: DomainName): Promise<void> {
  const alias = await tx.selectFrom('domains').select('name').where('alias_of', '=', name).executeTakeFirst()
  if (alias) throw problem('domain-has-alias-domains', { detail: `${alias.name} is an alias of ${name}.` })
}

/** Targets in the domain, which were outside or nowhere until now, lead to the other domain from now on. */
export async function assertNoLoopsThrough(tx: Tx, name: DomainName): Promise<void> {
  const { rows } = await sql<{ name: never; domain: DomainName }>`
    select a.name, a.domain from app.aliases as a
    where exists (select from unnest(a.targets) as t (address) where split_part(t.address, '@', 2) = ${name})`.execute(
    tx,
  )
  for (const alias of rows) await assertGraphSound(tx, alias, '*')
}
