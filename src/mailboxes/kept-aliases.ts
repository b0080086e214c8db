import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'

/**
 * Parts of a statement that purges the mailboxes m: the old addresses that renames left to them, where the mail goes
 * to nobody else, and the names that these hold. Else whoever has the address next would get that mail too.
 */
export function keptAliasesGo(which: RawBuilder<unknown> = sql`true`): RawBuilder<unknown> {
  return sql`kept as (
      delete from app.addresses as x using app.aliases as l, m
      where l.left_by = m.id and l.targets = array[m.name || '@' || m.domain]
        and x.name = l.name and x.domain = l.domain and ${which}
      returning x.name, x.domain, l.targets, l.send_as, x.holds_name
    ), kept_names as (
      delete from app.accounts as h using kept where h.name = kept.name and h.state = 'held'
    ), kept_events as (${insertEvents({
      action: 'alias.delete',
      object: sql`kept.name || '@' || kept.domain`,
      domain: sql`kept.domain`,
      before: sql`jsonb_build_object('targets', kept.targets, 'send_as', kept.send_as, 'holds_name', kept.holds_name)`,
      from: sql`kept`,
    })})`
}
