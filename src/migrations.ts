import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import pg from 'pg'
import { grantJobs, migrateJobs } from './jobs/migrations.ts'
import { prepareRoles, type ServiceLogin, serviceRole, withClient } from './roles.ts'

const folder = new URL('../migrations/', import.meta.url)
const oldestServer = 150_000
/** Kysely has a lock of its own, but not around the roles and grants, which fail when two make them at once. */
const migrationLock = 0x6d77 // any number that nobody else locks in this database

export interface MigrationTarget {
  /** Connects as the owner of the schemas. */
  ownerUrl: string
  /** The owner itself where there is only one role. */
  service?: ServiceLogin
}

/** Brings the database to the newest schema. Safe to run from several processes at once: one migrates, the others wait. */
export async function migrate({ ownerUrl, service }: MigrationTarget): Promise<string[]> {
  return withClient(ownerUrl, async (client) => {
    await requireServer(client)
    await client.query('select pg_advisory_lock($1)', [migrationLock]) // let go when the connection ends
    await requireSameHistory(client)
    await prepareRoles(client, service ?? { role: client.user ?? '' })
    const done = await runMigrations(ownerUrl)
    await migrateJobs(ownerUrl)
    await grantJobs(client)
    return done
  })
}

async function runMigrations(url: string): Promise<string[]> {
  const db = new Kysely<unknown>({
    dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1 }) }),
  })
  try {
    const { error, results } = await migrator(db).migrateToLatest()
    if (error) throw error
    await grantHistory(db)
    await noteHistory(db)
    return (results ?? []).map((result) => result.migrationName)
  } finally {
    await db.destroy()
  }
}

/** The names of the migrations that the database lacks. */
export async function pendingMigrations<T>(db: Kysely<T>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select name from app.migrations`.execute(db)
  return missing(rows, await readMigrations())
}

/** Whether the database has every migration already, as far as this role can see. */
export function schemaIsCurrent(url: string): Promise<boolean> {
  return withClient(url, async (client) => {
    const { rows } = await client.query(
      `select from pg_tables where schemaname = 'app' and tablename = 'migrations'`,
    )
    if (rows.length === 0) return false
    const { done, madeBy } = await readHistory(client)
    if (madeBy === null) return false // somebody is at it, or did it without a note: `migrate` finds out
    assertSame(madeBy, await digest(done.map(({ name }) => name)))
    return missing(done, await readMigrations()).length === 0
  })
}

function missing(done: { name: string }[], all: Record<string, Migration>): string[] {
  const names = new Set(done.map((row) => row.name))
  return Object.keys(all).filter((name) => !names.has(name))
}

function migrator(db: Kysely<unknown>): Migrator {
  return new Migrator({
    db,
    provider: { getMigrations: readMigrations },
    migrationTableSchema: 'app',
    migrationTableName: 'migrations',
    migrationLockTableName: 'migrations_lock',
  })
}

async function readMigrations(): Promise<Record<string, Migration>> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort()
  return Object.fromEntries(files.map((file) => [file.replace(/\.sql$/, ''), fromFile(file)]))
}

function fromFile(file: string): Migration {
  return {
    async up(db) {
      await sql.raw(await readFile(new URL(file, folder), 'utf8')).execute(db)
    },
  }
}

/** The service reads the history to learn whether its schema is current (/readyz). */
async function grantHistory(db: Kysely<unknown>): Promise<void> {
  await sql`grant select on app.migrations to ${sql.id(serviceRole)}`.execute(db)
}

/** What the migrations of these names say. */
async function digest(names: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const name of [...names].sort()) {
    const file = new URL(`${name}.sql`, folder)
    hash.update(await readFile(file).catch(() => `there is no ${name}`))
  }
  return hash.digest('hex')
}

/** A comment on their table, so that a database which was made by others is known as such. */
async function noteHistory(db: Kysely<unknown>): Promise<void> {
  const { rows } = await sql<{ name: string }>`select name from app.migrations`.execute(db)
  const text = await digest(rows.map(({ name }) => name))
  await sql`comment on table app.migrations is ${sql.lit(text)}`.execute(db)
}

/** Until there is a release the migrations themselves are changed. */
async function requireSameHistory(client: pg.Client): Promise<void> {
  const table = await client.query(`select to_regclass('app.migrations') as name`)
  if (table.rows[0].name === null) return
  const { done, madeBy } = await readHistory(client)
  if (done.length > 0) assertSame(madeBy, await digest(done.map(({ name }) => name)))
}

async function readHistory(client: pg.Client) {
  const { rows: done } = await client.query<{ name: string }>('select name from app.migrations')
  const { rows } = await client.query<{ made_by: string | null }>(
    `select obj_description('app.migrations'::regclass) as made_by`,
  )
  return { done, madeBy: rows[0]!.made_by }
}

function assertSame(madeBy: string | null, ours: string): void {
  if (madeBy === ours) return
  throw new Error(
    'The database was made by another state of Mailwright, whose migrations were others. Until the first release ' +
      'nothing is carried over: start with an empty database, or with another data folder (MAILWRIGHT_DATA_DIR).',
  )
}

async function requireServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `select current_setting('server_version_num')::int as version, current_setting('server_encoding') as encoding`,
  )
  const { version, encoding } = rows[0]!
  assertSupported(version)
  // in others a mail server's query could fail at a character that the database does not have
  if (encoding !== 'UTF8') {
    throw new Error(`A database with encoding UTF8 is needed; this one has ${encoding}.`)
  }
}

export function assertSupported(version: number): void {
  if (version < oldestServer) throw new Error(`Postgres 15 or newer is needed; this server is ${version}.`)
}
