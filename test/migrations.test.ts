import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import pg from 'pg'
import { startTemporaryPostgres } from '../src/embedded.ts'
import { assertSupported, migrate, schemaIsCurrent } from '../src/migrations.ts'
import {
  definerRole,
  mailReadRole,
  mailWriteRole,
  roleStatements,
  type ServiceLogin,
  serviceRole,
} from '../src/roles.ts'

// A server of its own: roles belong to all databases of a server, and here they must not be there yet.
const postgres = await startTemporaryPostgres(
  process.env.TEST_POSTGRES_BIN ? { binDir: process.env.TEST_POSTGRES_BIN } : {},
)
after(() => postgres.stop())

const run = promisify(execFile)

/** The migrations there are, in order. */
const names = (await readdir(new URL('../migrations/', import.meta.url)))
  .map((file) => file.replace(/\.sql$/, ''))
  .sort()

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query(statement)).rows
  } finally {
    await client.end()
  }
}

interface Place {
  ownerUrl: string
  owner: string
  serviceUrl: string
  service: ServiceLogin
}

/** An empty database whose owner is no superuser, and a login for the service. */
async function newPlace(ownerRights = 'createrole'): Promise<Place> {
  const id = randomUUID().slice(0, 8)
  const [owner, service, database] = [`owner_${id}`, `service_${id}`, `db_${id}`]
  await query(postgres.url, `create role ${owner} login password 'pw' ${ownerRights}`)
  await query(postgres.url, `create role ${service} login password 'pw'`)
  await query(postgres.url, `create database ${database} owner ${owner}`)
  return {
    owner,
    service: { role: service, password: 'pw' },
    ownerUrl: urlOf(owner, 'pw', database),
    serviceUrl: urlOf(service, 'pw', database),
  }
}

function urlOf(role: string, password: string, database: string): string {
  const url = new URL(postgres.url)
  url.username = role
  url.password = password
  url.pathname = `/${database}`
  return String(url)
}

/** Membership is all that a role of another owner leaves behind; a fresh pair of roles for the next test. */
async function forgetRoles(): Promise<void> {
  const databases = await query(postgres.url, `select datname from pg_database where datname like 'db\\_%'`)
  for (const { datname } of databases) await query(postgres.url, `drop database "${datname}" with (force)`)
  await query(
    postgres.url,
    `drop role if exists ${serviceRole}, ${definerRole}, ${mailReadRole}, ${mailWriteRole}`,
  )
}

/** The service's login can do its work, and no more. */
async function assertServiceWorks(serviceUrl: string): Promise<void> {
  await query(serviceUrl, `insert into app.accounts (name, authentication) values ('user1', 'local')`)
  await query(
    serviceUrl,
    `insert into app.verifiers (name, mechanism, verifier) values ('user1', 'ARGON2ID', 'x')`,
  )
  await query(serviceUrl, `select app.set_verifiers('user1', '{ARGON2ID}', '{y}')`)
  await query(serviceUrl, 'select app.drop_unlisted_verifiers(null)')
  assert.ok(await schemaIsCurrent(serviceUrl))
  await assert.rejects(query(serviceUrl, 'select * from app.verifiers'), { code: '42501' })
}

test('migrates as an owner who is no superuser, and changes nothing the second time', async () => {
  await forgetRoles()
  const { ownerUrl, serviceUrl, service } = await newPlace()
  assert.deepEqual(await migrate({ ownerUrl, service }), names)
  await assertServiceWorks(serviceUrl)
  const before = await contents(ownerUrl)
  assert.deepEqual(await migrate({ ownerUrl, service }), [])
  assert.deepEqual(await contents(ownerUrl), before)
})

/** Everything a migration could change: objects, their owners and rights, the history and the settings. */
function contents(url: string): Promise<Record<string, unknown>[]> {
  return query(
    url,
    `select 'class' as kind, oid::text, relname::text as name, relacl::text as rights, relowner::text as owner
       from pg_class where relnamespace in ('app'::regnamespace, 'mail'::regnamespace)
     union all
     select 'function', oid::text, proname, proacl::text, proowner::text
       from pg_proc where pronamespace in ('app'::regnamespace, 'mail'::regnamespace)
     union all
     select 'constraint', oid::text, conname, pg_get_constraintdef(oid), null
       from pg_constraint where connamespace in ('app'::regnamespace, 'mail'::regnamespace)
     union all
     select 'migration', null, name, timestamp, null from app.migrations
     union all
     select 'settings', null, version::text, null, null from app.settings
     order by kind, name, oid`,
  )
}

test('several processes may migrate an empty database at once', async () => {
  for (let round = 0; round < 3; round++) {
    await forgetRoles()
    const { ownerUrl, serviceUrl, service } = await newPlace()
    const target = { ownerUrl, service }
    const done = await Promise.all(Array.from({ length: 4 }, () => migrate(target)))
    assert.deepEqual(done.flat(), names)
    await assertServiceWorks(serviceUrl)
  }
})

test('two databases of one server may be migrated at once, each by an owner of its own', async () => {
  await forgetRoles()
  const superuser = await Promise.all([newPlace('superuser'), newPlace('superuser')])
  await Promise.all(superuser.map(({ ownerUrl, service }) => migrate({ ownerUrl, service })))
  for (const { serviceUrl } of superuser) await assertServiceWorks(serviceUrl)
})

test('works with one role for both, which then owns everything', async () => {
  await forgetRoles()
  const { ownerUrl } = await newPlace()
  await migrate({ ownerUrl })
  assert.ok(await schemaIsCurrent(ownerUrl))
  await query(ownerUrl, `select app.set_verifiers('nobody', '{}', '{}')`)
})

test('without the right to make roles it says what an administrator has to run, and that is enough', async () => {
  await forgetRoles()
  const { ownerUrl, serviceUrl, owner, service } = await newPlace('nocreaterole')
  const target = { ownerUrl, service }
  const error = await migrate(target).then(
    () => assert.fail('it must not succeed'),
    (reason: Error) => reason,
  )
  const [, ...statements] = error.message.split('\n')
  assert.match(error.message, new RegExp(`The role ${owner} may not`))
  assert.deepEqual(statements.join(' ').split(/; ?/).filter(Boolean), roleStatements(owner, service.role))
  assert.equal((await query(ownerUrl, `select from pg_namespace where nspname = 'app'`)).length, 0)
  for (const statement of statements) await query(postgres.url, statement)
  assert.deepEqual(await migrate(target), names)
  await assertServiceWorks(serviceUrl)
})

test('asks for no more than what is missing', async (t) => {
  await forgetRoles()
  const first = await newPlace()
  await migrate(first)
  const [server] = await query(postgres.url, `select current_setting('server_version_num')::int as version`)
  const { ownerUrl, owner, service } = await newPlace() // may make roles, but not give away those of another
  if (Number(server?.version) < 160_000) {
    t.diagnostic('before PostgreSQL 16 whoever may make roles may give away all but superusers')
    await migrate({ ownerUrl, service })
    return
  }
  await assert.rejects(migrate({ ownerUrl, service }), (error: Error) => {
    assert.deepEqual(error.message.split('\n').slice(1), [
      `grant ${definerRole} to "${owner}";`,
      `grant ${serviceRole} to "${service.role}";`,
    ])
    return true
  })
})

test('makes the login of the service where it is missing, or says so', async () => {
  await forgetRoles()
  const { ownerUrl, owner, serviceUrl, service } = await newPlace()
  await query(postgres.url, `drop role ${service.role}`)
  await query(postgres.url, `alter role ${owner} nocreaterole`)
  await assert.rejects(migrate({ ownerUrl, service }), (error: Error) => {
    assert.match(error.message, new RegExp(`^create role "${service.role}" login password '…';$`, 'm'))
    assert.doesNotMatch(error.message, /pw/)
    return true
  })
  await query(postgres.url, `alter role ${owner} createrole`)
  await migrate({ ownerUrl, service })
  await assertServiceWorks(serviceUrl)
})

test('every constraint and index has a name that we chose', async () => {
  await forgetRoles()
  const { ownerUrl } = await newPlace()
  await migrate({ ownerUrl })
  const constraints = await query(
    ownerUrl,
    `select conname as name, relname as table_name from pg_constraint join pg_class on pg_class.oid = conrelid
     where connamespace in ('app'::regnamespace, 'mail'::regnamespace) and contype <> 'n' and relname not like 'migrations%'`,
  )
  assert.ok(constraints.length > 40)
  for (const { name, table_name } of constraints)
    assert.match(String(name), new RegExp(`^${table_name}_(pkey|([a-z0-9]+_)+(key|check|fkey))$`))
  // PostgreSQL's own choice for a second one of a kind ends in a number
  for (const { name } of constraints) assert.doesNotMatch(String(name), /_(check|key|fkey)\d+$/)
  const indexes = await query(
    ownerUrl,
    `select indexname as name from pg_indexes where schemaname in ('app', 'mail')`,
  )
  for (const { name } of indexes) assert.match(String(name), /_(pkey|key|idx)$/)
})

test('refuses a Postgres that is too old', () => {
  for (const version of [90624, 140012, 149999]) {
    assert.throws(() => assertSupported(version), /Postgres 15 or newer is needed/)
  }
  for (const version of [150000, 160003, 180004]) assertSupported(version)
})

test('npm run migrate takes the owner from its own URL and the service from the other', async () => {
  await forgetRoles()
  const { ownerUrl, serviceUrl } = await newPlace()
  const script = new URL('../src/migrate.ts', import.meta.url).pathname
  const env = { ...process.env, DATABASE_URL: serviceUrl, MIGRATION_DATABASE_URL: ownerUrl }
  assert.equal((await run(process.execPath, [script], { env })).stdout, `Applied ${names.join(', ')}.\n`)
  await assertServiceWorks(serviceUrl)
  assert.equal((await run(process.execPath, [script], { env })).stdout, 'The schema is current.\n')
})

test('npm run migrate says what is wrong in a sentence', async () => {
  const script = new URL('../src/migrate.ts', import.meta.url).pathname
  const { DATABASE_URL: _, MIGRATION_DATABASE_URL: __, ...none } = process.env
  const { serviceUrl } = await newPlace()
  for (const [env, expected] of [
    [none, /^npm run migrate needs DATABASE_URL/],
    [{ ...none, DATABASE_URL: 'mysql://nothing' }, /^The environment is not right:\n {2}- DATABASE_URL/],
    [
      { ...none, DATABASE_URL: serviceUrl.replace(':pw@', ':other@') },
      /^[^\n]*password authentication failed[^\n]*\n$/,
    ],
  ] as const) {
    const failure = run(process.execPath, [script], { env })
    await assert.rejects(failure, (error: { code: number; stderr: string }) => {
      assert.ok(error.code > 0)
      assert.match(error.stderr, expected)
      return true
    })
  }
})

test('refuses a database that other migrations have made, and says what to do', async () => {
  await forgetRoles()
  const { ownerUrl, serviceUrl, service } = await newPlace()
  await migrate({ ownerUrl, service })
  await query(ownerUrl, `comment on table app.migrations is 'of another commit'`)
  const sentence = /another state of Mailwright.*start with an empty database/
  await assert.rejects(migrate({ ownerUrl, service }), sentence)
  await assert.rejects(schemaIsCurrent(serviceUrl), sentence)
  await query(ownerUrl, 'comment on table app.migrations is null')
  await assert.rejects(migrate({ ownerUrl, service }), sentence)
})
