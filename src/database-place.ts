import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Config } from './config.ts'
import { startEmbeddedPostgres } from './embedded.ts'
import { migrate, schemaIsCurrent } from './migrations.ts'
import { createServiceLogin, loginOf, ownsSchema } from './roles.ts'
import type { Logger } from './service.ts'

export interface DatabasePlace {
  /** What the service connects with. */
  serviceUrl: string
  notes: readonly string[]
  close(): Promise<void>
}

/** A migrated database: the one that DATABASE_URL names, else the embedded one. */
export function openPlace(config: Config, log: Logger): Promise<DatabasePlace> {
  return config.databaseUrl === undefined
    ? openEmbedded(config, log)
    : openExternal(config, config.databaseUrl, log)
}

async function openEmbedded({ dataDir }: Config, log: Logger): Promise<DatabasePlace> {
  const postgres = await startEmbeddedPostgres({ dataDir, log: (level, message) => log[level](message) })
  try {
    const { url: serviceUrl, role } = await createServiceLogin(postgres.url)
    await migrate({ ownerUrl: postgres.url, service: { role } })
    return { serviceUrl, notes: postgres.notes, close: () => postgres.stop() }
  } catch (error) {
    await postgres.stop()
    throw error
  }
}

async function openExternal(config: Config, serviceUrl: string, log: Logger): Promise<DatabasePlace> {
  const ownerUrl = config.migrationDatabaseUrl
  await waitForServer(ownerUrl ?? serviceUrl, log)
  if (ownerUrl !== undefined) await migrate({ ownerUrl, service: loginOf(serviceUrl) })
  // with one URL: where its role may not migrate, somebody else has, or the error says what is missing
  else if (!(await schemaIsCurrent(serviceUrl))) await migrate({ ownerUrl: serviceUrl })
  await waitForServer(serviceUrl, log)
  if (await ownsSchema(serviceUrl)) {
    log.warn(
      'DATABASE_URL owns the schema, so the service could read every verifier: give it a role of its own and set MIGRATION_DATABASE_URL for the owner',
    )
  }
  return { serviceUrl, notes: [], close: async () => {} }
}

const patienceMs = 30_000
const pauseMs = 1_000

/** At a start of everything at once the database may come a little later. */
async function waitForServer(url: string, log: Logger): Promise<void> {
  const until = Date.now() + patienceMs
  for (;;) {
    const error = await tryConnect(url)
    if (error === undefined) return
    const isAway = error.code === undefined || !/^(28|3D)/.test(error.code) // wrong password, no such database
    if (!isAway || Date.now() > until)
      throw new Error(`Cannot use the Postgres that was named: ${error.message}`)
    log.warn({ reason: error.message }, 'waiting for Postgres')
    await sleep(pauseMs)
  }
}

async function tryConnect(url: string): Promise<pg.DatabaseError | undefined> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return undefined
  } catch (error) {
    return error as pg.DatabaseError
  } finally {
    await client.end().catch(() => {})
  }
}
