import type { CompiledQuery } from 'kysely'
import pg from 'pg'

/** Many rows as they all were at one moment, read bit by bit. */
export interface Snapshot<Row> {
  /** The first rows, which are there already, and then the others. */
  batches(): AsyncGenerator<Row[]>
  /** Tells where it comes to nothing before `close`: the connection is lost, or somebody says so by `fail`. */
  onFailure(tell: (error: Error) => void): void
  fail(error: Error): void
  close(): Promise<void>
}

const rowsAtOnce = 500

/**
 * One fetch may sort a million rows before its first, so it gets longer than other statements. A client that takes
 * nothing for a minute loses the snapshot, since the rows that it still sees cannot be vacuumed; and Postgres looks
 * whether anybody is there while it sorts.
 */
const session = {
  statement_timeout: 60_000,
  query_timeout: 70_000, // where Postgres itself does not answer any more
  idle_in_transaction_session_timeout: 60_000,
  application_name: 'mailwright export',
}

/**
 * A cursor of SQL on a connection of its own, in a transaction that sees one moment (PostgreSQL, Transaction Isolation).
 * Fails before anything is sent where the first rows cannot be read.
 */
export async function openSnapshot<Row extends pg.QueryResultRow>(
  options: pg.PoolConfig,
  { sql, parameters }: CompiledQuery,
): Promise<Snapshot<Row>> {
  const client = new pg.Client({
    ...options,
    ...session,
    options: `${options.options ?? ''} -c client_connection_check_interval=5s`,
  })
  let closed = false
  let tellOf = (_error: Error) => {}
  const fail = (error: Error) => {
    if (!closed) tellOf(error)
  }
  client.on('error', fail)
  const close = async () => {
    if (closed) return
    closed = true
    await client.end().catch(() => {}) // in the middle of a statement it just hangs up
  }
  const fetch = async () => (await client.query<Row>(`fetch forward ${rowsAtOnce} from export`)).rows

  async function* batches(first: Row[]) {
    for (let rows = first; rows.length > 0; rows = rows.length < rowsAtOnce ? [] : await fetch()) yield rows
  }
  try {
    await client.connect()
    await client.query('begin isolation level repeatable read, read only')
    await client.query(`declare export no scroll cursor for ${sql}`, [...parameters])
    const first = await fetch()
    return {
      batches: () => batches(first),
      onFailure(tell) {
        tellOf = tell
      },
      fail,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
