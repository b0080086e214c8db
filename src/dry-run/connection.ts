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
  /** Whether the savepoint of a statement before is still there, in the transaction that runs if one does. */
  saved: boolean
}

/**
 * What COMMIT would refuse, a deferred constraint, is refused here. The session checks at the end of each statement; a
 * transaction of its own defers that to its end. A rollback puts back how constraints are checked as well (PostgreSQL,
 * SET CONSTRAINTS).
 */
export const checkAtOnce = 'set constraints all immediate'

const statement = {
  start: CompiledQuery.raw('savepoint one_statement'),
  next: CompiledQuery.raw('release one_statement; savepoint one_statement'),
  undo: CompiledQuery.raw('rollback to one_statement'),
}
const transaction = {
  start: CompiledQuery.raw('savepoint one_transaction; set constraints all deferred'),
  keep: CompiledQuery.raw(`${checkAtOnce}; release one_transaction`),
  undo: CompiledQuery.raw('rollback to one_transaction; release one_transaction'),
}

/** A transaction waits for the one before, so none may begin within another; single statements find their way between. */
export function createConnection(line: Line): TrialConnection {
  const { statements, transactions, run } = line
  let endTransaction: (() => void) | undefined
  let savedBefore = false
  const start = async () => {
    await run(transaction.start)
    savedBefore = line.saved
    line.saved = false
  }
  const end = (query: CompiledQuery) =>
    statements.take(async () => {
      await run(query)
      line.saved = savedBefore
    })
  const leave = () => {
    endTransaction?.()
    endTransaction = undefined
  }
  return {
    executeQuery: (query) => statements.take(() => (endTransaction ? run(query) : runAlone(line, query))),
    streamQuery() {
      throw new Error('Rows are not streamed in a trial.')
    },
    async begin() {
      const letNext = await transactions.wait()
      await statements.take(start).catch((error) => {
        letNext()
        throw error
      })
      endTransaction = letNext
    },
    async commit() {
      await end(transaction.keep) // where it fails, Kysely rolls back
      leave()
    },
    async rollback() {
      await end(transaction.undo).finally(leave)
    },
  }
}

/**
 * As outside of a transaction: by itself, so that its failure undoes nothing else. Its savepoint goes with the next one, in
 * one round trip.
 */
async function runAlone<Row>(line: Line, query: CompiledQuery): Promise<QueryResult<Row>> {
  await line.run(line.saved ? statement.next : statement.start)
  line.saved = true
  try {
    return await line.run<Row>(query)
  } catch (error) {
    await line.run(statement.undo).catch(() => {}) // the connection is lost, and `error` says so
    throw error
  }
}
