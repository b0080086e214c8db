import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { buildApp } from './app.ts'
import type { Config } from './config.ts'
import { type Db, openDatabase } from './database.ts'
import { openPlace } from './database-place.ts'
import { createIssuer } from './issuer.ts'
import { startWorker } from './jobs/worker.ts'
import { loadOrCreateKeys } from './keys.ts'
import { claimInstallation } from './server/store.ts'
import { createWorkQueue } from './work-queue.ts'

export type Logger = Exclude<FastifyServerOptions['loggerInstance'], undefined>

export interface RunningService {
  /** Where it listens. */
  url: string
  /** What whoever started it should know. */
  notes: readonly string[]
  /** Lets the requests in flight finish, then ends the connections and the embedded Postgres. */
  stop(): Promise<void>
}

/** Starts everything in the order in which the parts need each other; what fails stops what had started. */
export async function startService(config: Config, log: Logger): Promise<RunningService> {
  const keys = await loadOrCreateKeys(config.tokenKeyFile)
  const place = await openPlace(config, log)
  const db = openDatabase(place.serviceUrl, {
    onIdleError: (error) => log.warn({ reason: error.message }, 'a connection to Postgres was lost'),
  })
  const stopDatabase = async () => {
    await db.destroy()
    await place.close()
  }
  try {
    await assertOwnInstallation(db, keys.installation, config)
    const issuer =
      config.authIssuer === undefined
        ? undefined
        : createIssuer({ issuer: config.authIssuer, audience: config.authAudience ?? '' })
    const app = await buildApp({
      db,
      derivations: createWorkQueue(),
      auth: { keys, issuer, domainsClaim: config.authDomainsClaim },
      publicUrl: config.publicUrl,
      fastify: { loggerInstance: log, ...(await httpOptions(config)) },
    })
    const worker = startWorker({ databaseUrl: place.serviceUrl, db, doveadm: config, log })
    const stopWorker = () => worker.stop()
    app.addHook('onClose', stopWorker)
    const url = await app.listen({ host: config.host, port: config.port })
    return { url, notes: place.notes, stop: () => stopInOrder(app, stopDatabase) }
  } catch (error) {
    await stopDatabase()
    throw error
  }
}

async function stopInOrder(app: FastifyInstance, stopDatabase: () => Promise<void>): Promise<void> {
  await app.close()
  await stopDatabase()
}

/** Forwarded headers count only from the proxies that are named. */
async function httpOptions({
  tlsCertFile,
  tlsKeyFile,
  trustedProxies,
}: Config): Promise<FastifyServerOptions> {
  const tls =
    tlsCertFile === undefined || tlsKeyFile === undefined
      ? {}
      : {
          https: {
            cert: await readFile(tlsCertFile),
            key: await readFile(tlsKeyFile),
            minVersion: 'TLSv1.2',
          },
        }
  return { ...tls, ...(trustedProxies.length > 0 && { trustProxy: [...trustedProxies] }) }
}

async function assertOwnInstallation(db: Db, installation: string, config: Config): Promise<void> {
  const owner = await claimInstallation(db, installation, config.mailServer ?? hostname().toLowerCase())
  if (owner === installation) return
  throw new Error(
    `The database belongs to the installation ${owner}, the key file ${config.tokenKeyFile} to ${installation}. ` +
      'Replicas share one key file: let TOKEN_KEY_FILE name it. If it is lost, every token of this installation is void: ' +
      `run "update app.settings set installation = '${installation}'" in the database to go on with the new one.`,
  )
}
