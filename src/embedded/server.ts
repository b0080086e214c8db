import type { ChildProcess } from 'node:child_process'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { Binaries } from './binaries.ts'
import { lastLines, superuser } from './cluster.ts'
import { clearLeftOvers } from './left-overs.ts'
import type { DataPlace } from './place.ts'
import { ending, hasEnded, type Log, stopChild } from './postmaster.ts'
import { spawnAs } from './run-as.ts'

/** One Postgres: where it lies, and how it is started and reached. */
export interface Server {
  readonly place: DataPlace
  readonly binaries: Binaries
  readonly socketDir: string
  readonly password: string
  readonly settings: Readonly<Record<string, string>>
}

const largestLogBytes = 8 * 1024 * 1024

/** Starts the process and returns before it is ready. */
export async function launch(server: Server, log: Log): Promise<ChildProcess> {
  const { place, binaries, socketDir, settings } = server
  const survivor = await clearLeftOvers({ ...place, socketDir })
  if (survivor) log('warn', `Stopped the Postgres (pid ${survivor}) that an earlier start left behind.`)
  const all = { ...fixedSettings(socketDir), ...settings }
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const output = await openLog(logFile(place))
  // A session of its own: Ctrl-C in our terminal must not end Postgres before the last request is answered.
  const child = spawnAs(place.user, join(binaries.binDir, 'postgres'), ['-D', place.cluster, ...args], {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
  })
  child.unref()
  child.on('error', () => undefined) // no process: `ending` and `hasEnded` tell
  await output.close()
  return child
}

/** What must not be changed in postgresql.conf. Memory and the like are left to it. */
function fixedSettings(socketDir: string): Record<string, string> {
  return {
    listen_addresses: '',
    port: '5432',
    unix_socket_directories: `"${socketDir.replaceAll('"', '""')}"`,
    password_encryption: 'scram-sha-256',
    log_destination: 'stderr',
    logging_collector: 'off',
    log_timezone: 'UTC',
    log_checkpoints: 'off',
    // Refused statements are the service's to report; they, and the rows in their details, do not belong in a file.
    log_min_messages: 'log',
    log_error_verbosity: 'terse',
  }
}

function logFile(place: DataPlace): string {
  return join(place.dataDir, 'postgres.log')
}

async function openLog(file: string) {
  if ((await logSize(file)) > largestLogBytes) await rename(file, `${file}.1`)
  return open(file, 'a', 0o600)
}

function logSize(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  )
}

/** As `launch`, but returns when Postgres answers and holds the database; throws with what its log says. */
export async function launchUntilReady(server: Server, log: Log): Promise<ChildProcess> {
  const file = logFile(server.place)
  for (const until = Date.now() + survivorsEndMs; ; await sleep(200)) {
    const before = await logSize(file)
    const child = await launch(server, log)
    try {
      await waitUntilReady(server, child, log)
      return child
    } catch (error) {
      await stopChild(() => child, ending(child))
      const said = lastLines(
        Buffer.from(await readFile(file))
          .subarray(before)
          .toString(),
      )
      if (/pre-existing shared memory block/.test(said) && Date.now() < until) continue
      throw new Error(`The embedded Postgres did not start: ${(error as Error).message}\n${said}`, {
        cause: error,
      })
    }
  }
}

/** Backends of a killed postmaster end by themselves, after the statement they are at. */
const survivorsEndMs = 30_000

async function waitUntilReady(server: Server, child: ChildProcess, log: Log): Promise<void> {
  let told = Date.now()
  while (true) {
    if (hasEnded(child)) throw new Error(`it ended with ${await ending(child)}`)
    try {
      return await ensureDatabase(server)
    } catch (error) {
      if (!isStarting(error as Error)) throw error
    }
    await sleep(50)
    // However long: a recovery that is cut short begins anew.
    if (Date.now() - told < 10_000) continue
    told = Date.now()
    log('info', 'The embedded Postgres is still starting (it recovers after a crash).')
  }
}

/** No socket yet, or 57P03 cannot_connect_now, or gone in between (the caller looks at the process). */
function isStarting({ code = '', message }: Error & { code?: string }): boolean {
  const early = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P03'].includes(code)
  return early || /timeout expired|terminated/.test(message) // the driver's own errors have no code
}

const databaseName = 'mailwright'

async function ensureDatabase(server: Server): Promise<void> {
  const client = new Client({
    connectionString: databaseUrl(server, 'postgres'),
    connectionTimeoutMillis: 5000,
  })
  client.on('error', () => undefined) // a connection lost between two statements fails the next one
  try {
    await client.connect()
    const found = await client.query('SELECT FROM pg_database WHERE datname = $1', [databaseName])
    if (found.rowCount === 0) await client.query(`CREATE DATABASE ${databaseName}`)
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** The host and the port are named, so that PGHOST, PGPORT and PGSSLMODE do not count. */
export function databaseUrl(
  { socketDir, password }: Pick<Server, 'socketDir' | 'password'>,
  database = databaseName,
): string {
  const query = new URLSearchParams({ host: socketDir, sslmode: 'disable' })
  // RFC 3986 §3.4: a plus sign is a plus sign in a query; only forms read it as a space.
  const text = query.toString().replaceAll('+', '%20')
  return `postgresql://${superuser}:${password}@localhost:5432/${database}?${text}`
}
