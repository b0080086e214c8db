import { CompiledQuery, type Driver } from 'kysely'
import { checkAtOnce, createConnection, type TrialConnection } from './connection.ts'
import { createTurns } from './turns.ts'

/** The one transaction of a trial, on the one connection that it holds. */
export interface Session {
  connect(): TrialConnection
  /** Ends it as well, and throws where it could not be kept. */
  commit(): Promise<void>
  /** Rolls back, after the statement in hand, and gives the connection back; what comes later is refused. */
  end(): Promise<void>
  readonly ended: Promise<void>
}

/**
 * Others wait for the rows that a trial has written, so it does not wait long itself; how long it may hold them idly is
 * bounded as for every transaction.
 */
const begin = CompiledQuery.raw(`begin; set local lock_timeout = '3s'; ${checkAtOnce}`)

export async function openSession(driver: Driver): Promise<Session> {
  const connection = await driver.acquireConnection()
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const release = async () => {
    await driver.releaseConnection(connection)
    resolve()
  }
  const giveBack = async () => {
    await driver.rollbackTransaction(connection).catch(() => {}) // the driver then closes the connection
    await release()
  }
  await connection.executeQuery(begin).catch(async (error) => {
    await giveBack()
    throw error
  })
  const statements = createTurns()
  let over = false
  const line = {
    statements,
    transactions: createTurns(),
    saved: false,
    async run<Row>(query: CompiledQuery) {
      if (over) throw new Error('The trial that this statement belongs to is over.')
      return connection.executeQuery<Row>(query)
    },
  }
  return {
    connect: () => createConnection(line),
    commit() {
      over = true
      return statements.take(() => driver.commitTransaction(connection).finally(release))
    },
    end() {
      over = true
      return statements.take(giveBack)
    },
    ended,
  }
}
