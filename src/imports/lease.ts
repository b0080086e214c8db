import { type Selectable, sql } from 'kysely'
import type { Database, Db, Tx } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { parseScopes } from '../scopes.ts'
import type { Subject } from '../subject.ts'

export type ImportRecord = Selectable<Database['imports']>

/** So long an import waits for whoever held it and is gone. Who still works on it says so again and again. */
const lease = sql.raw(`interval '10 seconds'`)
export const renewMs = 3_000

/** Takes the import that has waited longest; undefined where there is none, or others have all of them. */
export async function claimImport(db: Db, worker: string): Promise<ImportRecord | undefined> {
  const { rows } = await sql<ImportRecord>`
    update app.imports as i
    set worker = ${worker}::uuid, leased_until = now() + ${lease}, started_at = coalesce(i.started_at, now()),
      state = case i.state when 'queued' then 'running' else i.state end
    where i.id = (
      select o.id from app.imports as o
      where (o.state in ('queued', 'running') or not o.cleared) and (o.leased_until is null or o.leased_until <= now())
      order by o.leased_until nulls first, o.created_at
      limit 1
      for update skip locked
    )
    returning i.*`.execute(db)
  return rows[0]
}

export async function renew(db: Db, id: string, worker: string): Promise<void> {
  await sql`
    update app.imports set leased_until = now() + ${lease}
    where id = ${id} and worker = ${worker}::uuid`.execute(db)
}

/** For whoever comes next, at once or after so many seconds. */
export async function release(db: Db, id: string, worker: string, seconds = 0): Promise<void> {
  await sql`
    update app.imports set worker = null, leased_until = clock_timestamp() + make_interval(secs => ${seconds}::integer)
    where id = ${id} and worker = ${worker}::uuid`.execute(db)
}

/** Seconds until one of them can be worked on; undefined where there is none. */
export async function waitingTime(db: Db): Promise<number | undefined> {
  const { rows } = await sql<{ seconds: number }>`
    select greatest(0, extract(epoch from min(coalesce(leased_until, now())) - now()))::float8 as seconds
    from app.imports where state in ('queued', 'running') or not cleared
    having count(*) > 0`.execute(db)
  return rows[0]?.seconds
}

/** Somebody else has it, or it has ended: what was about to be done must not be. */
export class Superseded extends Error {}

/** Holds the import until the transaction ends, so that its rows and how far it is change together. */
export async function holdImport(db: Db | Tx, record: ImportRecord): Promise<void> {
  const { rows } = await sql`
    select from app.imports
    where id = ${record.id} and worker = ${record.worker} and done_line = ${record.done_line} and state = 'running'
    for update`.execute(db)
  if (rows.length === 0) throw new Superseded('the import is no longer this one to work on')
}

/** In whose rights the rows are done. */
export function subjectOf(record: ImportRecord): Subject {
  const { domains, token_id, password_delivery } = record
  return {
    id: record.subject,
    issuer: record.issuer,
    tokenId: token_id ?? undefined,
    scopes: parseScopes(record.scopes),
    domains: domains[0] === '*' ? '*' : (domains as DomainName[]),
    ...(password_delivery && { passwordDelivery: password_delivery }),
  }
}

/** Of whoever pays for what the rows tell of names. */
export function payerOf(record: ImportRecord): Subject {
  return { ...subjectOf(record), issuer: record.payer_issuer, id: record.payer_id }
}

/** Why the sender may no longer do anything: its token is revoked, or all tokens of its time are refused. */
export async function refusalOf(
  db: Db,
  { stored_token, created_at }: ImportRecord,
): Promise<string | undefined> {
  const { rows } = await sql<{ revoked: boolean; refused: boolean }>`
    select
      ${stored_token}::uuid is not null and not exists (
        select from app.token_states as t where t.id = ${stored_token}::uuid and t.revoked_at is null
      ) as revoked,
      coalesce(s.tokens_not_before > ${created_at}::timestamptz, false) as refused
    from app.settings as s`.execute(db)
  const { revoked, refused } = rows[0]!
  if (revoked) return 'The token that it was sent with, or one that this was made with, is revoked.'
  return refused ? 'Tokens of the time when it was sent are no longer accepted.' : undefined
}
