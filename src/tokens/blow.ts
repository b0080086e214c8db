import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { sql } from 'kysely'
import { insertEvents } from '../audit/record.ts'
import type { Db } from '../database.ts'
import { logSecurityEvent } from '../security-events.ts'
import { chainOf, today, used } from './fuses.ts'
import { limitOf, type Overdraw } from './limits.ts'
import type { StoredToken } from './store.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What was wanted of a limit that did not have as much left. */
    overdraw: Overdraw | undefined
  }
}

/**
 * A token that wanted more than its limit stays refused, also when the next day begins: a job that has run wild is looked
 * at by somebody. It is written before the refusal is answered, in a transaction of its own, since that of the write is
 * rolled back. A request that is only tried blows nothing.
 */
export const blowFuses = fp(
  async (app: FastifyInstance, { db }: { db: Db }) => {
    app.decorateRequest('overdraw')
    const blowAndTell = async (request: FastifyRequest, token: StoredToken, overdraw: Overdraw) => {
      for (const id of await blow(db, token, overdraw)) tell(request, id, overdraw)
    }
    app.addHook('onSend', (request, _reply, _payload, done) => {
      const { overdraw, dryRun, problemCode, subject } = request
      if (!overdraw || dryRun || problemCode !== 'fuse-blown' || !subject.token) return done()
      return blowAndTell(request, subject.token, overdraw)
    })
  },
  { name: 'blow-fuses', dependencies: ['auth', 'request-context'], fastify: '5.x' },
)

/** The tokens whose fuse is blown by this and was not before; judged anew, since somebody may have reset it. */
export async function blow(db: Db, token: StoredToken, { fuse, count }: Overdraw): Promise<string[]> {
  const { rows } = await sql<{ token: string }>`
    with links as (
      select t.id, t.domains, ${sql.ref(`t.${limitOf(fuse)}`)} as allowed
      from app.tokens as t where t.id = any (${chainOf(token)}::uuid[])
    ), blown as (
      insert into app.token_fuses as f (token, kind, day, count, allowed, blown_at)
      select l.id, ${fuse}, ${today}, 0, l.allowed, now() from links as l
      where l.allowed < ${count}::integer
        or exists (select from app.token_fuses as o where o.token = l.id and o.kind = ${fuse})
      order by l.id
      on conflict on constraint token_fuses_pkey do update
        set blown_at = excluded.blown_at
        where f.blown_at is null and ${used} + ${count}::integer > f.allowed
      returning f.token
    ), event as (${insertEvents({
      action: 'token.blow-fuse',
      object: sql`l.id::text`,
      domain: sql`case when cardinality(l.domains) = 1 and l.domains <> '{*}' then l.domains[1] end`,
      before: sql`jsonb_build_object('fuse', ${fuse}::text, 'blown', false)`,
      after: sql`jsonb_build_object('fuse', ${fuse}::text, 'blown', true)`,
      from: sql`links as l join blown as b on b.token = l.id`,
    })})
    select token from blown`.execute(db)
  return rows.map((row) => row.token)
}

function tell(request: FastifyRequest, id: string, { fuse }: Overdraw): void {
  const by = request.subject.tokenId === id ? {} : { used_by: request.subject.tokenId }
  logSecurityEvent(request, 'fuse-blown', 'a token wanted more than its limit', { token_id: id, ...by, fuse })
}
