import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, test } from 'node:test'
import pg from 'pg'
import { startTemporaryPostgres } from '../src/embedded.ts'
import { makeTemplate } from './support/global.ts'
import { servePage } from './support/page-service.ts'
import { followSteps, prelude, readPage, readSteps } from './support/pages.ts'

/** Of the programs that the page calls; 0: there are none. */
function majorOfPrograms(): number {
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' })
  return Number(/ (\d+)/.exec(stdout ?? '')?.[1] ?? 0)
}

async function majorOfServer(): Promise<number> {
  const client = new pg.Client(process.env.TEST_POSTGRES_URL)
  await client.connect()
  const { rows } = await client.query(`select current_setting('server_version_num')::int / 10000 as major`)
  await client.end()
  return rows[0].major
}

/** A dump is taken by programs that are not older than the server: theirs takes its place where they are. */
async function suitServer(programs: number): Promise<() => Promise<void>> {
  if (programs >= (await majorOfServer())) return async () => {}
  const postgres = await startTemporaryPostgres({ binDir: debianBinaries(programs) })
  process.env.TEST_POSTGRES_URL = postgres.url
  await makeTemplate(postgres.url)
  return () => postgres.stop()
}

const debianBinaries = (major: number) => `/usr/lib/postgresql/${major}/bin`

const programs = majorOfPrograms()
const suits = programs > 0 && (programs >= (await majorOfServer()) || existsSync(debianBinaries(programs)))
const skip =
  suits || process.env.CI ? false : `no server that pg_dump ${programs || ''} can dump is installed`

test('a dump comes back as backup.md says', { skip }, async () => {
  const stop = await suitServer(programs)
  const { env, ownerUrl } = await servePage('').finally(() => after(stop)) // after what uses it
  const steps = readSteps(await readPage('docs/backup.md'))
  await followSteps(steps, { ...env, ...databaseEnvironment(ownerUrl) }, prelude)
})

/** Where the page finds the databases, and the programs of Postgres the server. */
function databaseEnvironment(owner: URL): Record<string, string> {
  const called = (name: string) => Object.assign(new URL(owner), { pathname: `/${name}` }).href
  return {
    OWNER_URL: owner.href,
    SCRATCH_URL: called('scratch'),
    RESTORED_URL: called('restored'),
    PGHOST: owner.searchParams.get('host') ?? owner.hostname,
    PGPORT: owner.port || (owner.searchParams.get('port') ?? '5432'),
    PGUSER: decodeURIComponent(owner.username),
    PGPASSWORD: decodeURIComponent(owner.password),
  }
}
