import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { sql } from 'kysely'
import pg from 'pg'
import { connectAs } from '../support/mail.ts'
import { cloneDatabase, startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const url = service.admin.options.connectionString ?? ''
const [reader, writer] = [await connectAs(url, 'read'), await connectAs(url, 'write')]
after(() => Promise.all([reader.end(), writer.end()]))

before(async () => {
  await admin.post('/v1/domains', { name: 'example.jp' })
  await admin.post('/v1/mailboxes', { address: 'user05@example.jp', generate_password: true })
})

const forbidden = '42501' // insufficient_privilege

function refuses(client: pg.Client | pg.Pool, statement: string) {
  return assert.rejects(client.query(statement), { code: forbidden }, statement)
}

const beyondMail = [
  'select * from app.verifiers',
  'select verifier from app.verifiers',
  'select count(*) from app.verifiers',
  'select * from app.accounts',
  'select * from app.mailboxes',
  'select * from app.domains',
  'select * from app.addresses',
  'select * from app.settings',
  'select * from app.migrations',
  'select * from mail.decoy_key',
  "select mail.decoy('user05', 'CRAM-MD5', null, 4096)",
  "select app.set_verifiers('user05', '{CRAM-MD5}', '{00}')",
  'select app.drop_unlisted_verifiers(null)',
  'create table public.mine (a int)',
  'create table mail.mine (a int)',
  'create table app.mine (a int)',
  'create schema mine',
  'create role mine',
  'set role mailwright_definer',
  'set role mailwright_service',
  "copy (select 1) to program 'true'",
  "select pg_read_file('/etc/passwd')",
]

describe('mail_read', () => {
  // even where somebody with its password turns its defaults off
  before(() => reader.query('set default_transaction_read_only = off'))
  for (const statement of [
    ...beyondMail,
    'select * from mail.usage',
    'select * from mail.last_login',
    "insert into mail.usage values ('user05@example.jp', 1, 1)",
  ]) {
    test(`may not ${statement}`, () => refuses(reader, statement))
  }
})

describe('mail_write', () => {
  for (const statement of [
    ...beyondMail,
    "select * from mail.passdb('user05', 'CRAM-MD5', 'imap')",
    "select * from mail.userdb('user05@example.jp', 'imap')",
    "select * from mail.mailbox('user05', 'example.jp')",
    'select mail.offers_cram_md5()',
    'alter table mail.usage add column mine int',
    'truncate mail.usage',
  ]) {
    test(`may not ${statement}`, () => refuses(writer, statement))
  }

  test('writes usage and last logins the way Dovecot does', async () => {
    for (const bytes of [100, 200]) {
      await writer.query(`insert into mail.usage (bytes, username) values (${bytes}, 'user05@example.jp')
        on conflict (username) do update set bytes = ${bytes}`)
      await writer.query(`insert into mail.last_login (at_epoch, username) values (${bytes}, 'user05@example.jp')
        on conflict (username) do update set at_epoch = ${bytes}`)
    }
    const { rows } = await service.admin.query('select bytes, messages from mail.usage')
    assert.deepEqual(rows, [{ bytes: '200', messages: '0' }])
  })
})

test('the service reads no verifier and no decoy key', async () => {
  const { serviceUrl, drop } = await cloneDatabase()
  const client = new pg.Client(serviceUrl)
  await client.connect()
  try {
    for (const statement of [
      'select * from app.verifiers',
      'select * from mail.decoy_key',
      "select * from mail.passdb('user05', 'CRAM-MD5', 'imap')",
      "select mail.decoy('user05', 'CRAM-MD5', null, 4096)",
      'set role mailwright_definer',
      'set role mail_read',
    ])
      await refuses(client, statement)
  } finally {
    await client.end()
    await drop()
  }
})

test('functions that read verifiers belong to a role without login, and nobody but mail_read may call them', async () => {
  const { rows } = await service.admin.query<{
    name: string
    login: boolean
    callers: string[]
    config: string[]
  }>(`
    select p.proname as name, o.rolcanlogin as login, p.proconfig as config,
      array(select r.rolname::text from pg_roles as r
        where not r.rolsuper and r.oid <> p.proowner and has_function_privilege(r.oid, p.oid, 'execute')
          and r.rolname not like 'pg\\_%' order by 1) as callers
    from pg_proc as p join pg_roles as o on o.oid = p.proowner
    where p.pronamespace = 'mail'::regnamespace and p.prosecdef order by 1`)
  assert.deepEqual(
    rows.map(({ name }) => name),
    [
      'alias',
      'decoy',
      'domain',
      'drop_unknown',
      'mailbox',
      'offers_cram_md5',
      'passdb',
      'recipient_access',
      'relay_client',
      'sender_login',
      'userdb',
    ],
  )
  for (const { name, login, callers, config } of rows) {
    assert.equal(login, false, name)
    assert.deepEqual(callers, /^(decoy|drop_unknown)$/.test(name) ? [] : ['mail_read'], name)
    assert.deepEqual(config, ['search_path=""'], name)
  }
})

test('mail_read is read-only and short of time by default', async () => {
  const fresh = await connectAs(url, 'read')
  const show = async (name: string) => (await fresh.query(`show ${name}`)).rows[0][name]
  assert.equal(await show('default_transaction_read_only'), 'on')
  assert.equal(await show('statement_timeout'), '5s')
  // compiling takes longer than finding out where an alias leads, which Postgres expects to take for ever
  assert.equal(await show('jit'), 'off')
  await fresh.end()
  const { rows } = await sql<{ jit: string }>`show jit`.execute(service.db)
  assert.deepEqual(rows, [{ jit: 'off' }])
})
