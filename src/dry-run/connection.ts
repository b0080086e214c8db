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
 * What COMMIT would refuse, a deferred constraint, is refused here. The rollback puts the constraints back to what the
 * transaction had them at (PostgreSQL, SET CONSTRAINTS).
 */
const checkConstraints =
  'savepoint constraints; set constraints all immediate; rollback to constraints; release constraints'

type Savepoint = 'one_statement' | 'one_transaction'
const start = (savepoint: Savepoint) => CompiledQuery.raw(`savepoint ${savepoint}`)
const keep = (savepoint: Savepoint) => CompiledQuery.raw(`${checkConstraints}; release ${savepoint}`)
const undo = (savepoint: Savepoint) => CompiledQuery.raw(`rollback to ${savepoint}; release ${savepoint}`)

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
      await control(start('one_transaction')).catch((error) => {
        end()
        throw error
      })
      endTransaction = end
    },
    async commit() {
      await control(keep('one_transaction')) // where it fails, Kysely rolls back
      leave()
    },
    async rollback() {
      await control(undo('one_transaction')).finally(leave)
    },
  }
}

/** As outside of a transaction: by itself, so that its failure undoes nothing else. */
async function runAlone<Row>(run: Line['run'], query: CompiledQuery): Promise<QueryResult<Row>> {
  await run(start('one_statement'))
  try {
    const result = await run<Row>(query)
    await run(keep('one_statement'))
    return result
  } catch (error) {
    await run(undo('one_statement')).catch(() => {}) // the connection is lost, and `error` says so
    throw error
  }
}
