import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { findBinaries } from './embedded/binaries.ts'
import { ensureCluster } from './embedded/cluster.ts'
import { type Lock, lockDataDir } from './embedded/lock.ts'
import { type DataPlace, findPlace, makeSocketDir } from './embedded/place.ts'
import { type Log, supervise } from './embedded/postmaster.ts'
import { databaseUrl, launch, launchUntilReady, type Server } from './embedded/server.ts'

export interface EmbeddedPostgres {
  /** The database, as its superuser. */
  readonly url: string
  readonly place: { readonly dataDir: string; readonly socketDir: string; readonly user: string }
  /** What whoever started the service should know, a sentence each. */
  readonly notes: readonly string[]
  stop(): Promise<void>
}

export interface EmbeddedOptions {
  readonly dataDir: string
  readonly log: Log
  /** Takes the place of the npm package's Postgres. */
  readonly binDir?: string | undefined
  /** Settings of postgresql.conf. */
  readonly settings?: Readonly<Record<string, string>>
  /** Where binaries and data go that the user cannot reach who takes root's place. */
  readonly fallbackDir?: string
}

/** Rejects when another Mailwright uses the data folder, and when Postgres does not start. */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  if (!process.getuid) throw new Error('Here Mailwright cannot bring its own Postgres: set DATABASE_URL.')
  const { fallbackDir = '/var/lib/mailwright' } = options
  const notes: string[] = []
  const place = await findPlace(options.dataDir, { fallbackDir, notes })
  const lock = lockDataDir(place.dataDir)
  try {
    const binaries = await findBinaries(place.user, { binDir: options.binDir, fallbackDir, notes })
    const server = await prepare(place, { binaries, settings: options.settings ?? {} })
    return { ...(await run(server, lock, options.log)), notes }
  } catch (error) {
    lock.release()
    throw error
  }
}

async function prepare(
  place: DataPlace,
  { binaries, settings }: Pick<Server, 'binaries' | 'settings'>,
): Promise<Server> {
  const socketDir = await makeSocketDir(place)
  const password = await ensureCluster(place, binaries, settings.fsync !== 'off')
  return { place, binaries, settings, socketDir, password }
}

async function run(server: Server, lock: Lock, log: Log): Promise<Omit<EmbeddedPostgres, 'notes'>> {
  const { place, socketDir } = server
  const supervised = supervise(await launchUntilReady(server, log), () => launch(server, log), log)
  return {
    url: databaseUrl(server),
    place: { dataDir: place.dataDir, socketDir, user: place.user.name },
    async stop() {
      await supervised.stop()
      lock.release()
    },
  }
}

export interface TemporaryPostgres {
  readonly url: string
  stop(): Promise<void>
}

/** A throw-away Postgres that is fast and survives no crash, for tests. `stop` removes it. */
export async function startTemporaryPostgres(
  options: Pick<EmbeddedOptions, 'settings' | 'binDir'> = {},
): Promise<TemporaryPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-'))
  const fallbackDir = `/tmp/${basename(folder)}-moved`
  const remove = async () => {
    for (const path of [folder, fallbackDir]) await rm(path, { recursive: true, force: true })
  }
  try {
    const postgres = await startEmbeddedPostgres({
      ...options,
      dataDir: folder,
      fallbackDir,
      log: () => undefined,
      settings: {
        fsync: 'off',
        synchronous_commit: 'off',
        full_page_writes: 'off',
        shared_buffers: '128MB', // to drop a database is to look through all of them
        ...options.settings,
      },
    })
    return {
      url: postgres.url,
      async stop() {
        await postgres.stop()
        await rm(postgres.place.socketDir, { recursive: true, force: true }) // not always below the folder
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}
