import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { definerRole, serviceRole, withClient } from '../src/roles.ts'
import { serviceLogin } from './support/names.ts'
import { startService } from './support/service.ts'

const service = await startService()
const { admin } = service
const url = new URL(String(admin.options.connectionString))
url.username = serviceLogin.name
url.password = serviceLogin.password
const intruder = new pg.Client(String(url)) // with all that the running service has
let owner = ''

before(async () => {
  intruder.on('error', () => {}) // its database is dropped under it at the end
  await intruder.connect()
  const everything = await service.as()
  await everything.post('/v1/domains', { name: 'roles.example' })
  await everything.post('/v1/mailboxes', { address: 'user1@roles.example', generate_password: true })
  owner = (await admin.query('select current_user as name')).rows[0].name
})
after(() => intruder.end())

const insufficientPrivilege = '42501'

async function refused(statement: string, code: string | RegExp = insufficientPrivilege): Promise<void> {
  await intruder.query('begin')
  try {
    await assert.rejects(intruder.query(statement), (error: pg.DatabaseError) => {
      assert.match(error.code ?? '', typeof code === 'string' ? new RegExp(`^${code}$`) : code, statement)
      return true
    })
  } finally {
    await intruder.query('rollback')
  }
}

/** Tried one by one: a statement that is allowed by mistake names itself. */
async function allRefused(statements: string[]): Promise<void> {
  for (const statement of statements) await refused(statement)
}

test('the service cannot read, change or delete a verifier', () =>
  allRefused([
    'select * from app.verifiers',
    'select verifier from app.verifiers limit 0',
    'select count(*) from app.verifiers',
    'table app.verifiers',
    'copy app.verifiers to stdout',
    'copy (select verifier from app.verifiers) to stdout',
    `update app.verifiers set verifier = 'x'`,
    `update app.verifiers set verifier = 'x' where name = 'user1'`,
    'delete from app.verifiers',
    `delete from app.verifiers where name = 'user1'`,
    'truncate app.verifiers',
    'lock table app.verifiers in access exclusive mode',
    `insert into app.verifiers (name, mechanism, verifier) values ('user1', 'CRAM-MD5', 'x') returning verifier`,
    `insert into app.verifiers (name, mechanism, verifier) values ('user1', 'ARGON2ID', 'x')
       on conflict (name, mechanism) do update set verifier = excluded.verifier`,
    `insert into app.accounts (name, authentication) select verifier, 'local' from app.verifiers`,
    `merge into app.verifiers as v using (select 1) as one on true when matched then delete`,
    'create temporary table copied as select * from app.verifiers',
    `create temporary view shown as select * from app.verifiers; select * from shown`,
    'select * from pg_statistic',
  ]))

test('statistics of the planner do not show it either', async () => {
  await admin.query('analyze app.verifiers')
  const { rows } = await intruder.query(
    `select from pg_stats where schemaname = 'app' and tablename = 'verifiers'`,
  )
  assert.equal(rows.length, 0)
})

test('the service cannot change the schema', () =>
  allRefused([
    'create table app.own (name text)',
    'create table public.own (name text)',
    'create schema own',
    'create view app.shown as select 1 as one',
    'create index on app.accounts (display_name)',
    'create function app.own() returns int language sql return 1',
    'create function public.own() returns int language sql return 1',
    'create or replace function app.is_name(value text) returns boolean language sql return true',
    'alter table app.accounts add column own text',
    'alter table app.accounts drop constraint accounts_name_check',
    'alter table app.mailboxes alter constraint mailboxes_account_fkey not deferrable',
    'alter table app.verifiers owner to current_user',
    `alter function app.set_verifiers(text, text[], text[]) set search_path = 'public'`,
    'alter schema app rename to mine',
    'drop table app.verifiers',
    'drop function app.set_verifiers(text, text[], text[])',
    'drop schema app cascade',
    'drop owned by mailwright_definer',
    'reassign owned by mailwright_definer to current_user',
    'truncate app.mailboxes cascade',
    'create trigger own before insert on app.verifiers execute function suppress_redundant_updates_trigger()',
    'alter table app.mailboxes disable trigger all',
    'create rule own as on insert to app.verifiers do nothing',
    'create policy own on app.verifiers',
    `comment on table app.verifiers is 'mine'`,
    'delete from app.migrations',
    `insert into app.migrations (name, timestamp) values ('0009_own', '')`,
    'delete from app.settings',
    'insert into app.settings default values',
    'create extension file_fdw',
  ]))

test('the service cannot become somebody else or give rights away', async () => {
  await allRefused([
    `set role ${definerRole}`,
    `set role ${pg.escapeIdentifier(owner)}`,
    `set session authorization ${definerRole}`,
    `grant ${definerRole} to current_user`,
    `alter role ${definerRole} login password 'mine'`,
    'alter role current_user superuser',
    'alter role current_user createrole',
    'create role own',
    `drop role ${definerRole}`,
    'alter default privileges for role mailwright_definer grant select on tables to public',
  ])
})

test('the service cannot give rights away', async () => {
  const before = await rightsInSchema()
  // PostgreSQL only warns where a role has a right, but not the right to grant it
  for (const right of [
    'select on app.verifiers',
    'insert on app.verifiers',
    'all on app.accounts',
    'all on schema app',
  ])
    for (const grantee of ['public', 'current_user'])
      await intruder.query(`grant ${right} to ${grantee}`).catch(() => undefined)
  assert.deepEqual(await rightsInSchema(), before)
})

async function rightsInSchema(): Promise<unknown> {
  const { rows } = await admin.query(`
    select relname as name, relacl::text as rights from pg_class where relnamespace = 'app'::regnamespace
    union all
    select nspname, nspacl::text from pg_namespace where nspname = 'app'
    order by name`)
  return rows
}

test('the service cannot reach outside its tables', async () => {
  await allRefused([
    'select rolpassword from pg_authid',
    'select passwd from pg_shadow',
    'select * from pg_user_mapping',
    `copy app.accounts to program 'true'`,
    `copy app.accounts to '/tmp/mailwright-accounts'`,
    `select pg_read_file('postgresql.conf')`,
    `select pg_ls_dir('.')`,
    `select lo_import('/etc/passwd')`,
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${owner}'`,
    'select pg_reload_conf()',
    `set session_replication_role = 'replica'`,
    `set log_statement = 'all'`,
  ])
  const outsideTransactions = [
    `alter system set log_statement = 'all'`,
    'create database own',
    'drop database postgres',
  ]
  for (const statement of outsideTransactions)
    await assert.rejects(intruder.query(statement), { code: insufficientPrivilege }, statement)
})

test('nor what others ask and how they are set', async () => {
  const other = await admin.connect()
  await other.query(`select 'a secret of somebody else'`)
  const { rows } = await intruder.query(
    `select query from pg_stat_activity where usename <> current_user and query like '%a secret of%'`,
  )
  other.release()
  assert.deepEqual(rows, [])
  const { rows: files } = await intruder.query(
    `select setting from pg_settings where name in ('data_directory', 'hba_file')`,
  )
  assert.deepEqual(files, [])
})

test('the service can do its work through the functions made for it', async () => {
  await intruder.query('begin')
  await intruder.query(`select app.set_verifiers('user1', '{ARGON2ID}', '{new}')`)
  await intruder.query('select app.drop_unlisted_verifiers(null)')
  await intruder.query('rollback')
})

test('neither role of the service logs in, and neither owns more than the functions made for it', async () => {
  const { rows: roles } = await admin.query(
    `select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication
     from pg_roles where rolname = any($1)`,
    [[serviceRole, definerRole]],
  )
  assert.equal(roles.length, 2)
  for (const { rolname, ...rights } of roles)
    assert.ok(
      Object.values(rights).every((right) => right === false),
      rolname,
    )
  const { rows: owned } = await admin.query(
    `select c.relname as name from pg_class as c join pg_roles as r on r.oid = c.relowner where r.rolname = any($1)
     union all
     select p.proname from pg_proc as p join pg_roles as r on r.oid = p.proowner where r.rolname = any($1)
     union all
     select n.nspname from pg_namespace as n join pg_roles as r on r.oid = n.nspowner where r.rolname = any($1)
     order by name`,
    [[serviceRole, definerRole, serviceLogin.name]],
  )
  assert.deepEqual(
    owned.map(({ name }) => name),
    [
      'alias',
      'decoy',
      'domain',
      'drop_unknown',
      'drop_unlisted_verifiers',
      'mailbox',
      'move_verifiers',
      'offers_cram_md5',
      'passdb',
      'recipient_access',
      'relay_client',
      'sender_login',
      'set_verifiers',
      'userdb',
      'verifier_for_check',
    ],
  )
})

test('everybody else has no right at all', async () => {
  const { rows: schemas } = await admin.query(
    `select has_schema_privilege('public', 'app', 'usage') or has_schema_privilege('public', 'app', 'create')
       or has_schema_privilege('public', 'public', 'create') as any`,
  )
  assert.equal(schemas[0].any, false)
  const { rows: functions } = await admin.query(
    `select proname from pg_proc
     where pronamespace = 'app'::regnamespace and has_function_privilege('public', oid, 'execute')`,
  )
  assert.deepEqual(functions, [])
  const { rows: tables } = await admin.query(
    `select relname from pg_class where relnamespace = 'app'::regnamespace and relkind in ('r', 'v', 'm', 'p', 'S')
       and has_table_privilege('public', oid, 'select, insert, update, delete, truncate, references, trigger')`,
  )
  assert.deepEqual(tables, [])
})

test('a function that runs with the rights of another is closed to what its caller sets up', async () => {
  const { rows } = await admin.query<{
    name: string
    settings: string[] | null
    text: string
    language: string
  }>(
    `select p.proname as name, p.proconfig as settings, pg_get_functiondef(p.oid) as text, l.lanname as language
     from pg_proc as p join pg_language as l on l.oid = p.prolang
     where p.pronamespace = 'app'::regnamespace and p.prosecdef`,
  )
  assert.ok(rows.length >= 2)
  for (const { name, settings, text, language } of rows) {
    assert.deepEqual(settings, ['search_path=""'], name)
    assert.equal(language, 'sql', name) // which has no dynamic SQL
    assert.doesNotMatch(text, /\bexecute\b/i, name)
    assert.match(text, /BEGIN ATOMIC/, name) // names were resolved when it was made
  }
})

test('the service cannot put its own table in the way of such a function', async () => {
  await intruder.query('begin')
  await intruder.query('create temporary table verifiers (name text, mechanism text, verifier text)')
  await intruder.query('set local search_path = pg_temp, public, app')
  await intruder.query(`select app.set_verifiers('user1', '{ARGON2ID}', '{stolen}')`)
  const { rows } = await intruder.query('select * from pg_temp.verifiers')
  await intruder.query('rollback')
  assert.deepEqual(rows, [])
})

test('a connection that is lost while nothing is asked over it does not end the process', () =>
  withClient(String(admin.options.connectionString), async (client) => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    await Promise.all([
      new Promise((resolve) => client.once('end', resolve)),
      admin.query('select pg_terminate_backend($1)', [rows[0]?.pid]),
    ])
  }))
