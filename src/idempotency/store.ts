import { sql } from 'kysely'
import type pg from 'pg'
import type { Db, Tx } from '../database.ts'
import { problem } from '../problems.ts'
import { type IdempotencyKey, lockNumber } from './key.ts'

/** What was answered, but for a secret, in whose place the body says that it is left out. */
export interface KeptAnswer {
  status: number
  etag: string | null
  location: string | null
  body: object
}

const lifetime = `interval '24 hours'`

/** The first answer under this key, if there was one; refuses another request under it. */
export async function findAnswer(db: Db, entry: IdempotencyKey): Promise<KeptAnswer | undefined> {
  const row = await db
    .selectFrom('idempotency_keys')
    .select(['fingerprint', 'status', 'etag', 'location', 'body'])
    .where('issuer', '=', entry.issuer)
    .where('subject', '=', entry.subject)
    .where('key', '=', entry.key)
    .where('created_at', '>', sql<Date>`now() - ${sql.raw(lifetime)}`)
    .executeTakeFirst()
  if (!row) return undefined
  const { fingerprint, ...kept } = row
  if (entry.fingerprints.some((own) => own.equals(fingerprint))) return kept
  throw problem('idempotency-key-reused')
}

/**
 * Holds the key until the transaction ends, so that what `findAnswer` says after it stays true; an insert alone would
 * wait for another that is under way.
 */
export async function lockKey(tx: Tx, entry: IdempotencyKey): Promise<void> {
  const { rows } = await sql<{ locked: boolean }>`
    select pg_try_advisory_xact_lock(${lockNumber(entry)}::bigint) as locked`.execute(tx)
  if (!rows[0]?.locked) throw problem('idempotency-key-in-use')
}

/** Refuses what `lockKey` would refuse, and holds nothing. A lock of 64 bits is in pg_locks in two halves. */
export async function assertKeyFree(tx: Tx, entry: IdempotencyKey): Promise<void> {
  const { rows } = await sql`
    select from pg_locks
    where locktype = 'advisory' and objsubid = 1
      and database = (select oid from pg_database where datname = current_database())
      and ((classid::bigint << 32) | objid::bigint) = ${lockNumber(entry)}::bigint`.execute(tx)
  if (rows.length > 0) throw problem('idempotency-key-in-use')
}

/** In the place of one that is expired but not swept yet; another there cannot be under the lock. */
export async function insertAnswer(tx: Tx, entry: IdempotencyKey, answer: KeptAnswer): Promise<void> {
  const { fingerprints, ...key } = entry
  const columns = ['fingerprint', 'status', 'etag', 'location', 'body', 'created_at'] as const
  await tx
    .insertInto('idempotency_keys')
    .values({ ...key, fingerprint: fingerprints[0]!, ...answer, body: JSON.stringify(answer.body) })
    .onConflict((conflict) =>
      conflict
        .constraint('idempotency_keys_pkey')
        .doUpdateSet((eb) => Object.fromEntries(columns.map((name) => [name, eb.ref(`excluded.${name}`)]))),
    )
    .execute()
}

/** Deletes what is no longer replayed. */
export async function sweepAnswers(query: (text: string) => Promise<pg.QueryResult>): Promise<void> {
  await query(`delete from app.idempotency_keys where created_at <= now() - ${lifetime}`)
}
