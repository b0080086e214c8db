import type { DatabaseConnection, Dialect, Driver } from 'kysely'
import { createWorkQueue, type WorkQueue } from '../work-queue.ts'
import type { TrialConnection } from './connection.ts'
import { openSession, type Session } from './session.ts'
import { currentJoint } from './trial.ts'

/** How many trials may wait for a connection, and how long: the real requests go on beside them. */
const waiting = { maxWaiting: 100, maxWaitMs: 5_000 }

/** The dialect, but in a trial every connection is one of its session; at most `atOnce` trials hold one. */
export function withTrials(dialect: Dialect, atOnce: number): Dialect {
  return {
    createDriver: () =>
      tryingDriver(dialect.createDriver(), createWorkQueue({ concurrency: atOnce, ...waiting })),
    createQueryCompiler: () => dialect.createQueryCompiler(),
    createAdapter: () => dialect.createAdapter(),
    createIntrospector: (db) => dialect.createIntrospector(db),
  }
}

function tryingDriver(driver: Driver, gate: WorkQueue): Driver {
  const trials = new WeakMap<DatabaseConnection, TrialConnection>()

  async function connectToTrial(session: Promise<Session>): Promise<DatabaseConnection> {
    const connection = (await session).connect()
    trials.set(connection, connection)
    return connection
  }
  return {
    init: (options) => driver.init(options),
    async acquireConnection(options) {
      const trial = currentJoint()
      if (!trial) return driver.acquireConnection(options)
      trial.session ??= trial.kept ? openSession(driver) : openInTurn(driver, gate)
      return connectToTrial(trial.session)
    },
    beginTransaction: (connection, settings) =>
      trials.get(connection)?.begin() ?? driver.beginTransaction(connection, settings),
    commitTransaction: (connection) =>
      trials.get(connection)?.commit() ?? driver.commitTransaction(connection),
    rollbackTransaction: (connection) =>
      trials.get(connection)?.rollback() ?? driver.rollbackTransaction(connection),
    savepoint: (...savepoint) => driver.savepoint!(...savepoint),
    rollbackToSavepoint: (...savepoint) => driver.rollbackToSavepoint!(...savepoint),
    releaseSavepoint: (...savepoint) => driver.releaseSavepoint!(...savepoint),
    async releaseConnection(connection, options) {
      if (!trials.has(connection)) await driver.releaseConnection(connection, options)
    },
    destroy: (options) => driver.destroy(options),
  }
}

/** The turn lasts until the session has given its connection back. */
function openInTurn(driver: Driver, gate: WorkQueue): Promise<Session> {
  return new Promise((resolve, reject) => {
    const open = async () => {
      const session = await openSession(driver)
      resolve(session)
      await session.ended
    }
    gate.run(open).catch(reject)
  })
}
