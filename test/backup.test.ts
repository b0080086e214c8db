import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import pg from 'pg'
import { servePage } from './support/page-service.ts'
import { followSteps, prelude, readPage, readSteps } from './support/pages.ts'

/** A dump is taken by programs that are not older than the server. */
async function findObstacle(): Promise<string | false> {
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' })
  const program = Number(/ (\d+)/.exec(stdout ?? '')?.[1] ?? 0)
  const client = new pg.Client(process.env.TEST_POSTGRES_URL)
  await client.connect()
  const { rows } = await client.query(`select current_setting('server_version_num')::int / 10000 as major`)
  await client.end()
  return program >= rows[0].major ? false : `pg_dump ${program} takes no dump of Postgres ${rows[0].major}`
}

test('a dump comes back as backup.md says', { skip: await findObstacle() }, async () => {
  const { env, ownerUrl } = await servePage('')
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
