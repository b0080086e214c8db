import { sql } from 'kysely'
import type { Db } from '../database.ts'
import { assertMayForward, isForwarding, lookUpForwardingRules } from '../forwarding.ts'
import { parseDestination } from '../mailboxes/address.ts'
import { problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'

const pointer = '/targets'

/** Each once, as it is stored. */
export function parseTargets(texts: readonly string[]): string[] {
  return [...new Set(texts.map((text, i) => parseDestination(text, `${pointer}/${i}`)))]
}

/** Those of the targets that are outside of the caller's domains, which takes a right of its own. */
export async function findForwarded(db: Db, subject: Subject, targets: readonly string[]): Promise<string[]> {
  const rules = await lookUpForwardingRules(db, subject, targets)
  assertMayForward(subject, rules, targets, pointer)
  return targets.filter((target) => isForwarding(rules, target))
}

/** Refuses a target that is not there. `known` are those that have to be. */
export async function assertTargetsExist(
  db: Db,
  targets: readonly string[],
  known: readonly string[],
  at = pointer,
): Promise<void> {
  if (known.length === 0) return
  const { rows } = await sql<{ address: string }>`
    select t.address
    from unnest(${known}::text[]) as t (address)
      join app.domains as d on d.name = split_part(t.address, '@', 2) and d.state = 'active'
      join app.addresses as x
        on x.name = mail.name_of(split_part(t.address, '@', 1)) and x.domain = coalesce(d.alias_of, d.name)
      left join app.mailboxes as m on m.name = x.name and m.domain = x.domain
    where x.name <> '' and m.state is distinct from 'deleted'`.execute(db)
  const missing = known.find((target) => !rows.some(({ address }) => address === target))
  if (missing === undefined) return
  const detail = `There is no mailbox and no alias ${missing}.`
  throw problemAt('unknown-target', `${at}/${targets.indexOf(missing)}`, detail)
}
