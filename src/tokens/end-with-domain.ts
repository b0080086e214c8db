import { type RawBuilder, sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'

/**
 * Parts of a statement that removes the domains d for good: the tokens that name one of them end, since whoever gets
 * the name next is somebody else.
 */
export function tokensEnd(): RawBuilder<unknown> {
  return sql`ended as (
      update app.tokens as t set revoked_at = now(), version = gen_random_uuid()
      from d
      where d.name = any (t.domains) and t.revoked_at is null and t.expires_at > now()
      returning t.id, t.domains
    ), ended_events as (${insertEvents({
      action: 'token.revoke',
      object: sql`ended.id::text`,
      domain: sql`case when cardinality(ended.domains) = 1 then ended.domains[1] end`,
      before: sql`jsonb_build_object('state', 'active')`,
      after: sql`jsonb_build_object('state', 'revoked')`,
      from: sql`ended`,
    })})`
}
