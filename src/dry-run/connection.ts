import { CompiledQuery, type DatabaseConnection, type QueryResult } from 'kysely'
import type { Turns } from './turns.ts'

/** A connection as Kysely sees it: in truth all those of a trial are one, and their transactions savepoints. */
export interface TrialConnection extends DatabaseConnection {
  begin(): Promise<void>
  commit(): Promise<void>
  rollback(): Promise<void>
}

/** What the connections of a trial share. */
export interface Line {
  statements: Turns
  transactions: Turns
  run<Row>(query: CompiledQuery): Promise<QueryResult<Row>>
}

/**
 * What COMMIT would refuse, a deferred constraint, is refused here. The session checks at the end of each statement; a
 * transaction of its own defers that to its end. A rollback puts back how constraints are checked as well (PostgreSQL,
 * SET CONSTRAINTS).
 */
export const checkAtOnce = 'set constraints all immediate'

const statement = {
  start: CompiledQuery.raw('savepoint one_statement'),
  keep: CompiledQuery.raw('release one_statement'),
  undo: CompiledQuery.raw('rollback to one_statement; release one_statement'),
}
const transaction = {
  start: CompiledQuery.raw('savepoint one_transaction; set constraints all deferred'),
  keep: CompiledQuery.raw(`${checkAtOnce}; release one_transaction`),
  undo: CompiledQuery.raw('rollback to one_transaction; release one_transaction'),
}

/** A transaction waits for the one before, so none may begin within another; single statements find their way between. */
export function createConnection({ statements, transactions, run }: Line): TrialConnection {
  let endTransaction: (() => void) | undefined
  const control = (query: CompiledQuery) => statements.take(() => run(query))
  const leave = () => {
    endTransaction?.()
    endTransaction = undefined
  }
  return {
    executeQuery: (query) => statements.take(() => (endTransaction ? run(query) : runAlone(run, query))),
    streamQuery() {
      throw new Error('Rows are not streamed in a trial.')
    },
    async begin() {
      const end = await transactions.wait()
      await control(transaction.start).catch((error) => {
        end()
        throw error
      })
      endTransaction = end
    },
    async commit() {
      await control(transaction.keep) // where it fails, Kysely rolls back
      leave()
    },
    async rollback() {
      await control(transaction.undo).finally(leave)
    },
  }
}

/** As outside of a transaction: by itself, so that its failure undoes nothing else. */
async function runAlone<Row>(run: Line['run'], query: CompiledQuery): Promise<QueryResult<Row>> {
  await run(statement.start)
  try {
    const result = await run<Row>(query)
    await run(statement.keep)
    return result
  } catch (error) {
    await run(statement.undo).catch(() => {}) // the connection is lost, and `error` says so
    throw error
  }
}
