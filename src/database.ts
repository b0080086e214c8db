import { type CompiledQuery, Kysely, PostgresDialect, sql, type Transaction } from 'kysely'
import pg from 'pg'
import { withTrials } from './dry-run/driver.ts'
import { currentTrial } from './dry-run/trial.ts'
import { nameOf } from './prepared.ts'
import type { Database } from './tables.ts'

export type { Authentication, Database } from './tables.ts'

export type Db = Kysely<Database>
export type Tx = Transaction<Database>

const int8 = 20
/** bigint arrives as text; every bigint column is checked to be at most 2^53 - 1. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8 ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
}

export interface DatabaseOptions {
  /** Connections at most; every request holds one only for its statements. */
  poolSize?: number
  onIdleError?: (error: Error) => void
  /** Told of each statement once it has been run. */
  onStatement?: (statement: CompiledQuery) => void
}

/**
 * For a transaction that changes a whole domain, or every account, in one statement: at a million rows that takes
 * longer than any other statement may. A trial would hold up the others for as long, so it gets no more than they do.
 */
export async function allowLongStatements(tx: Tx): Promise<void> {
  if (currentTrial()) return
  await sql`
    select set_config('statement_timeout', '15min', true), set_config('enable_hashjoin', 'on', true),
      set_config('enable_seqscan', 'on', true)`.execute(tx)
}

/**
 * For a statement that joins many rows it was sent with each other, which would else be done by comparing each with each,
 * also where the planner expects few of them; for it alone, since it may read whole tables for the others. In a transaction,
 * but not in one of long statements: they are set back to what a session begins with.
 */
export async function withHashJoins<T>(db: Db, run: () => Promise<T>): Promise<T> {
  const hashJoins = async (on: boolean) => {
    await sql`
      select set_config('enable_hashjoin', ${String(on)}, true),
        set_config('enable_nestloop', ${String(!on)}, true)`.execute(db)
  }
  await hashJoins(true)
  try {
    return await run()
  } finally {
    // refused only in a transaction that has failed, and ends with it
    await hashJoins(false).catch(() => {})
  }
}

/**
 * Of a domain that was filled a minute ago Postgres may know nothing, and then its checks of foreign keys read the whole
 * table for each row: so do the plans for them that the connection keeps from when there were few rows, and 20,000 took
 * minutes.
 */
export async function planForAnySize(tx: Tx): Promise<void> {
  await sql`set local enable_seqscan = off`.execute(tx)
  await sql`discard plans`.execute(tx)
}

/**
 * Every hot statement is a few probes of indexes, and the planner is told so: it knows only the domain that is usual, and
 * for one that is a thousand times as large reads and sorts all of it, or merges with a whole table, for one page. And
 * where aliases lead is estimated as endless: a compiler's half second is more than it takes to find out. The plan of a
 * prepared statement was made for the size that its tables had then, and reading all of a small one would be the cheapest.
 */
export const planner =
  '-c jit=off -c random_page_cost=1 -c enable_hashjoin=off -c enable_mergejoin=off -c enable_seqscan=off'

/**
 * Opens a pool. A statement that runs longer than 15 s, or waits longer than 10 s for a lock, or a
 * transaction left idle for 15 s, is ended by Postgres, so that one bad request cannot hold up the others;
 * a connection that cannot be had within 5 s is a 503.
 */
export function openDatabase(
  url: string,
  { poolSize = 20, onIdleError = () => {}, onStatement }: DatabaseOptions = {},
): Db {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: 15_000,
    lock_timeout: 10_000,
    idle_in_transaction_session_timeout: 15_000,
    application_name: 'mailwright',
    options: planner,
    keepAlive: true,
    types,
  })
  pool.on('error', onIdleError) // an idle connection that Postgres closed; the pool opens another
  // The loss of one in use reaches its statement; unheard as an event it would end the process.
  pool.on('connect', (client) => client.on('error', () => {}))
  pool.on('connect', namePrepared)
  const dialect = withTrials(new PostgresDialect({ pool }), Math.ceil(poolSize / 2))
  const log = onStatement && { log: ({ query }: { query: CompiledQuery }) => onStatement(query) }
  const db = new Kysely<Database>({ dialect, ...log }).withSchema('app')
  pools.set(db, pool)
  return db
}

/**
 * Kysely has no names for statements, so each client gets them here. And a statement is awaited by a promise of its own: the
 * two that the driver chains kept rows until V8 had moved them to its old generation, 2.4 % of all that a read allocates
 * (0.2 % now, `--trace-gc-nvp`), which is collected at the price of a tenth of the reads.
 */
function namePrepared(client: pg.ClientBase): void {
  Object.assign(client, {
    query: (text: string, values: unknown[]) =>
      new Promise((resolve, reject) => {
        const done = (error: Error | undefined, result: pg.QueryResult) =>
          error ? reject(error) : resolve(result)
        Reflect.apply(pg.Client.prototype.query, client, [{ name: nameOf(text), text, values }, done])
      }),
  })
}

const pools = new WeakMap<Db, pg.Pool>()

/** For whoever watches it: its clients take statements as Kysely sends them, and nothing else. */
export function poolOf(db: Db): Omit<pg.Pool, 'query' | 'connect'> {
  const pool = pools.get(db)
  if (!pool) throw new TypeError('openDatabase opens what has a pool')
  return pool
}
