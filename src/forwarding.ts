import { sql } from 'kysely'
import { requireScope } from './auth.ts'
import type { Db } from './database.ts'
import type { DomainName } from './domains/name.ts'
import { problemAt } from './problems.ts'
import type { Subject } from './subject.ts'

/** What decides whether mail may be sent on. */
export interface ForwardingRules {
  /** The setting; null: anywhere. */
  forward_allowed_domains: readonly DomainName[] | null
  /** Those of the targets' domains that are the caller's and of this installation. */
  own_domains: readonly DomainName[]
}

/** `targets` are addresses as `parseDestination` gives them. */
export async function lookUpForwardingRules(
  db: Db,
  subject: Subject,
  targets: readonly string[],
): Promise<ForwardingRules> {
  const wanted = [...new Set(targets.map(domainOf))]
  // the addresses of an alias domain are those of the domain that it stands for
  const own =
    subject.domains === '*'
      ? sql`true`
      : sql`d.name = any(${subject.domains}::text[]) and coalesce(d.alias_of, d.name) = any(${subject.domains}::text[])`
  const { rows } = await sql<ForwardingRules>`
    select s.forward_allowed_domains,
      array(select d.name from app.domains as d where d.name = any(${wanted}::text[]) and ${own}) as own_domains
    from app.settings as s`.execute(db)
  return rows[0]!
}

/**
 * Whether mail to this target leaves the caller's domains. To a caller limited to some, the others of this installation
 * are as foreign as those of anybody else, so that it learns nothing of them.
 */
export function isForwarding({ own_domains }: ForwardingRules, target: string): boolean {
  return !own_domains.includes(domainOf(target))
}

/** `pointer` is where the request has the list of targets; `added` are those that are judged. */
export function assertMayForward(
  subject: Subject,
  rules: ForwardingRules,
  targets: readonly string[],
  pointer: string,
  added = targets,
): void {
  for (const [i, target] of targets.entries()) {
    if (added.includes(target)) assertMayForwardTo(subject, rules, target, `${pointer}/${i}`)
  }
}

export function assertMayForwardTo(
  subject: Subject,
  rules: ForwardingRules,
  target: string,
  pointer: string,
): void {
  if (!isForwarding(rules, target)) return
  requireScope(subject, 'forwarding:write')
  assertAllowed(rules, domainOf(target), pointer)
}

function assertAllowed(
  { forward_allowed_domains }: ForwardingRules,
  domain: DomainName,
  pointer: string,
): void {
  if (forward_allowed_domains === null || forward_allowed_domains.includes(domain)) return
  throw problemAt('forwarding-refused', pointer, `Mail may not be sent on to ${domain}.`)
}

function domainOf(target: string): DomainName {
  return target.slice(target.indexOf('@') + 1) as DomainName
}
