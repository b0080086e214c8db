import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, describe, test } from 'node:test'
import { type Config, ConfigError, Environment, readConfig } from '../src/config.ts'

const folder = mkdtempSync(join(tmpdir(), 'mailwright-config-'))
const pem = join(folder, 'some.pem')
writeFileSync(pem, 'x')
after(() => rmSync(folder, { recursive: true }))

function mistakesOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
  return []
}

test('an empty environment gives the defaults', () => {
  assert.deepEqual(readConfig({}), {
    host: '127.0.0.1',
    port: 8080,
    publicUrl: undefined,
    tlsCertFile: undefined,
    tlsKeyFile: undefined,
    trustedProxies: [],
    databaseUrl: undefined,
    migrationDatabaseUrl: undefined,
    dataDir: resolve('data'),
    tokenKeyFile: resolve('data/token-key.json'),
    logLevel: 'info',
    auditLogFile: undefined,
    threads: 4,
    mailServer: undefined,
    authIssuer: undefined,
    authAudience: undefined,
    authDomainsClaim: 'mailwright_domains',
    metricsHost: '127.0.0.1',
    metricsPort: undefined,
    limits: { reads: undefined, writes: undefined, passwords: undefined, nameTaken: 60, configurations: 120 },
    doveadmUrl: undefined,
    doveadmKeyFile: undefined,
    doveadmMailDir: undefined,
  } satisfies Config)
})

test('an empty variable counts as absent', () => {
  const empty = Object.fromEntries(Object.keys(Environment.properties).map((name) => [name, '']))
  assert.deepEqual(readConfig(empty), readConfig({}))
})

test('every variable is read', () => {
  const config = readConfig({
    HOST: '0.0.0.0',
    PORT: '0',
    PUBLIC_URL: 'https://mail.example.org/',
    TLS_CERT_FILE: pem,
    TLS_KEY_FILE: pem,
    TRUSTED_PROXIES: ' 10.0.0.0/8, 192.0.2.1,2001:db8::/32 ',
    ALLOW_PLAIN_HTTP: 'true',
    DATABASE_URL: 'postgres://service:secret@db.example.org/mail',
    MIGRATION_DATABASE_URL: 'postgresql://owner:secret@/mail?host=/run/postgresql',
    MAILWRIGHT_DATA_DIR: 'some/where',
    TOKEN_KEY_FILE: '/etc/mailwright/key.json',
    LOG_LEVEL: 'silent',
    AUDIT_LOG_FILE: '/var/log/mailwright/audit.jsonl',
    UV_THREADPOOL_SIZE: '16',
    MAIL_SERVER: 'MX1.example.org',
    AUTH_ISSUER: 'https://login.example.org/realms/a/',
    AUTH_AUDIENCE: 'mailwright',
    AUTH_DOMAINS_CLAIM: 'https://example.org/domains',
    METRICS_HOST: '::1',
    METRICS_PORT: '9180',
    RATE_LIMIT_READS: '6000',
    RATE_LIMIT_WRITES: '600',
    RATE_LIMIT_PASSWORDS: '100',
    RATE_LIMIT_NAME_TAKEN: '10',
    RATE_LIMIT_CONFIGURATIONS: '30',
    DOVEADM_URL: 'https://mail.example.org:8443',
    DOVEADM_KEY_FILE: pem,
    DOVEADM_MAIL_DIR: '/srv/mail',
  })
  assert.deepEqual(config, {
    host: '0.0.0.0',
    port: 0,
    publicUrl: 'https://mail.example.org',
    tlsCertFile: pem,
    tlsKeyFile: pem,
    trustedProxies: ['10.0.0.0/8', '192.0.2.1', '2001:db8::/32'],
    databaseUrl: 'postgres://service:secret@db.example.org/mail',
    migrationDatabaseUrl: 'postgresql://owner:secret@/mail?host=/run/postgresql',
    dataDir: resolve('some/where'),
    tokenKeyFile: '/etc/mailwright/key.json',
    logLevel: 'silent',
    auditLogFile: '/var/log/mailwright/audit.jsonl',
    threads: 16,
    mailServer: 'mx1.example.org',
    authIssuer: 'https://login.example.org/realms/a/',
    authAudience: 'mailwright',
    authDomainsClaim: 'https://example.org/domains',
    metricsHost: '::1',
    metricsPort: 9180,
    limits: { reads: 6000, writes: 600, passwords: 100, nameTaken: 10, configurations: 30 },
    doveadmUrl: 'https://mail.example.org:8443',
    doveadmKeyFile: pem,
    doveadmMailDir: '/srv/mail',
  } satisfies Config)
})

test('the token key lies in the data folder unless it is put elsewhere', () => {
  assert.equal(readConfig({ MAILWRIGHT_DATA_DIR: '/srv/mw' }).tokenKeyFile, '/srv/mw/token-key.json')
})

test('a URL, which may hold a password, is never shown', () => {
  for (const name of ['DATABASE_URL', 'MIGRATION_DATABASE_URL', 'PUBLIC_URL', 'AUTH_ISSUER']) {
    const mistakes = mistakesOf({ [name]: 'mysql://user:hunter2@db.example.org/x?y' }).join('\n')
    assert.match(mistakes, new RegExp(name))
    assert.doesNotMatch(mistakes, /hunter2/)
  }
})

test('a wrong value is shown without its control characters', () => {
  assert.match(mistakesOf({ PORT: '\u001b[2J' })[0]!, /"\\u001b\[2J"/)
})

describe('variables that go together', () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ TLS_CERT_FILE: pem }, /^TLS_CERT_FILE needs TLS_KEY_FILE/],
    [{ TLS_KEY_FILE: pem }, /^TLS_KEY_FILE needs TLS_CERT_FILE/],
    [{ AUTH_ISSUER: 'https://a.example' }, /^AUTH_ISSUER needs AUTH_AUDIENCE/],
    [{ AUTH_AUDIENCE: 'a' }, /^AUTH_AUDIENCE needs AUTH_ISSUER/],
    [{ DOVEADM_URL: 'https://a.example' }, /^DOVEADM_URL needs DOVEADM_KEY_FILE/],
    [{ DOVEADM_KEY_FILE: pem }, /^DOVEADM_KEY_FILE needs DOVEADM_URL/],
    [{ MIGRATION_DATABASE_URL: 'postgres://a/b' }, /^MIGRATION_DATABASE_URL needs DATABASE_URL/],
  ]
  for (const [env, message] of cases) {
    test(message.source, () => {
      const mistakes = mistakesOf(env)
      assert.equal(mistakes.length, 1)
      assert.match(mistakes[0]!, message)
    })
  }
})

describe('plain HTTP on an address that others can reach', () => {
  for (const HOST of ['0.0.0.0', '::', '192.0.2.1', 'api.example.org', '::ffff:127.0.0.1']) {
    test(`is refused on ${HOST}`, () =>
      assert.match(mistakesOf({ HOST })[0]!, /TLS_CERT_FILE.*TRUSTED_PROXIES.*ALLOW_PLAIN_HTTP/))
  }
  for (const HOST of ['127.0.0.1', '127.3.2.1', '::1', 'localhost']) {
    test(`is no matter on ${HOST}`, () => assert.deepEqual(mistakesOf({ HOST }), []))
  }
  const allowing: Record<string, string>[] = [
    { ALLOW_PLAIN_HTTP: 'true' },
    { TRUSTED_PROXIES: '10.0.0.1' },
    { TLS_CERT_FILE: pem, TLS_KEY_FILE: pem },
  ]
  for (const env of allowing) {
    test(`is settled by ${Object.keys(env).join(' and ')}`, () => {
      assert.deepEqual(mistakesOf({ HOST: '0.0.0.0', ...env }), [])
    })
  }
  test('is not settled by ALLOW_PLAIN_HTTP=false', () => {
    assert.equal(mistakesOf({ HOST: '0.0.0.0', ALLOW_PLAIN_HTTP: 'false' }).length, 1)
  })
})
