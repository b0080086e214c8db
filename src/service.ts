import { readFile } from 'node:fs/promises'
import { availableParallelism, hostname } from 'node:os'
import { createSecureContext } from 'node:tls'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import { buildApp } from './app.ts'
import { followEvents } from './audit/follow.ts'
import { openAuditLogFile } from './audit/log-file.ts'
import type { Config } from './config.ts'
import { type Db, openDatabase } from './database.ts'
import { openPlace } from './database-place.ts'
import { createIssuer } from './issuer.ts'
import { startWorker } from './jobs/worker.ts'
import { loadOrCreateKeys } from './keys.ts'
import { serverOptions } from './malformed.ts'
import { quietThreads } from './quiet-threads.ts'
import { claimInstallation } from './server/store.ts'
import { createWorkQueue } from './work-queue.ts'

export type Logger = Exclude<FastifyServerOptions['loggerInstance'], undefined>

export interface RunningService {
  /** Where it listens. */
  url: string
  /** What whoever started it should know. */
  notes: readonly string[]
  /** Where AUDIT_LOG_FILE was moved away. */
  reopenAuditLog(): void
  /** Lets the requests in flight finish, then ends the connections and the embedded Postgres. */
  stop(): Promise<void>
}

/** Starts everything in the order in which the parts need each other; what fails stops what had started. */
export async function startService(config: Config, log: Logger): Promise<RunningService> {
  await quietThreads().catch((error: Error) =>
    log.debug({ reason: error.message }, 'the threads that derive keys do not yield'),
  )
  const http = await httpOptions(config)
  const auditLog = config.auditLogFile === undefined ? undefined : await openAuditLogFile(config.auditLogFile)
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
    const derivations = createWorkQueue({ concurrency: derivationsAtOnce(config) })
    const app = await buildApp({
      db,
      derivations,
      auth: { keys, issuer, domainsClaim: config.authDomainsClaim },
      databaseUrl: place.serviceUrl,
      publicUrl: config.publicUrl,
      limits: config.limits,
      fastify: { loggerInstance: log, ...http },
    })
    const metricsUrl = await openMetrics(app, config)
    if (metricsUrl) log.info({ url: metricsUrl }, 'metrics')
    const imports = { derivations, keys, nameTaken: config.limits.nameTaken }
    const worker = startWorker({ databaseUrl: place.serviceUrl, db, doveadm: config, log, imports })
    app.addHook('onClose', () => worker.stop())
    const url = await app.listen({ host: config.host, port: config.port }).catch(async (error) => {
      await app.close()
      throw error
    })
    const follower = auditLog && followEvents(db, auditLog, log)
    return {
      url,
      notes: place.notes,
      reopenAuditLog: () => follower?.reopen(),
      stop: () =>
        stopInOrder(
          () => app.close(),
          async () => follower?.stop(),
          stopDatabase,
        ),
    }
  } catch (error) {
    await stopDatabase()
    throw error
  }
}

/** On a port of their own, where one is set; it is closed with the service. */
async function openMetrics(app: FastifyInstance, config: Config): Promise<string | undefined> {
  const { metrics } = app
  if (config.metricsPort === undefined || !metrics) return undefined
  // only here, since importing node:http by its names costs 15 MB: it brings the fetch of Node along
  const { serveMetrics } = await import('./metrics/loopback.ts')
  const { url, stop } = await serveMetrics(metrics, { host: config.metricsHost, port: config.metricsPort })
  app.addHook('onClose', stop)
  return url
}

/**
 * One a core, and one that is ready when another has ended: its turn begins with a look-up, during which a core would do
 * nothing. Files and names are looked up by the same threads, so one of these is left for them.
 */
function derivationsAtOnce({ threads }: Config): number {
  return Math.max(1, Math.min(availableParallelism() + 1, threads - 1))
}

async function stopInOrder(...stops: (() => unknown)[]): Promise<void> {
  for (const stop of stops) await stop()
}

/** Forwarded headers count only from the proxies that are named. */
async function httpOptions({
  tlsCertFile,
  tlsKeyFile,
  trustedProxies,
}: Config): Promise<FastifyServerOptions> {
  const proxies = trustedProxies.length > 0 && { trustProxy: [...trustedProxies] }
  if (tlsCertFile === undefined || tlsKeyFile === undefined) return { ...proxies }
  const https = {
    cert: await readFile(tlsCertFile),
    key: await readFile(tlsKeyFile),
    minVersion: 'TLSv1.2',
    ...serverOptions,
  }
  try {
    createSecureContext({ cert: https.cert, key: https.key })
  } catch (cause) {
    throw new Error('TLS_CERT_FILE and TLS_KEY_FILE must be a certificate and its key, both in PEM.', {
      cause,
    })
  }
  return { https, ...proxies } as FastifyServerOptions
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
