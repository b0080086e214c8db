import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ConfigError, Environment, readConfig } from '../../src/config.ts'

const folder = import.meta.dirname
const pem = fileURLToPath(import.meta.url) // any file that can be read

function mistakesOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes
    throw error
  }
  return []
}

/** What each needs beside it to be right. */
const beside: Record<string, Record<string, string>> = {
  HOST: { ALLOW_PLAIN_HTTP: 'true' },
  AUTH_ISSUER: { AUTH_AUDIENCE: 'a' },
  AUTH_AUDIENCE: { AUTH_ISSUER: 'https://a.example' },
  TLS_CERT_FILE: { TLS_KEY_FILE: pem },
  TLS_KEY_FILE: { TLS_CERT_FILE: pem },
  MIGRATION_DATABASE_URL: { DATABASE_URL: 'postgres://a/b' },
}

const good: Record<string, string[]> = {
  HOST: ['localhost', '::1', '::', '192.0.2.1', 'api.example.org'],
  PORT: ['0', '1', '65535'],
  PUBLIC_URL: ['http://localhost:8080', 'https://a.example', 'https://a.example/'],
  TRUSTED_PROXIES: ['127.0.0.1', '::1', 'fd00::/8,10.0.0.0/8', '10.1.2.3/32'],
  ALLOW_PLAIN_HTTP: ['true', 'false'],
  DATABASE_URL: [
    'postgres://a',
    'postgresql:///db',
    'postgres://u:p@/db?host=/run',
    'postgres://u:p%40@h:5433/db',
  ],
  LOG_LEVEL: ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
  MAIL_SERVER: ['mail', 'mail.example.org', 'xn--bcher-kva.example'],
  METRICS_HOST: ['127.0.0.1', '127.8.8.8', '::1', 'localhost'],
  METRICS_PORT: ['0', '9180'],
  RATE_LIMIT_READS: ['1', '1000000'],
  AUTH_ISSUER: ['https://a.example', 'http://localhost:9000', 'http://127.0.0.1:1/x', 'http://[::1]:1'],
}

const bad: Record<string, string[]> = {
  HOST: ['[::1]', '256.1.1.1', 'a b', 'http://a', '-a', '127.1'],
  PORT: ['-1', '65536', '1.5', '0x10', '1e3', ' 80', 'eighty', '000080'],
  PUBLIC_URL: [
    'a.example',
    'ftp://a.example',
    'https://a.example/?x',
    'https://a/#x',
    'https://u:p@a',
    'https:a',
    'https://',
  ],
  TLS_CERT_FILE: [join(folder, 'missing.pem'), folder],
  TLS_KEY_FILE: [join(folder, 'missing.pem')],
  TRUSTED_PROXIES: [
    '10.0.0.0/33',
    '10.0.0.0/',
    'a.example',
    '10.0.0.0/8;::1',
    '0.0.0.0/0',
    '::/0',
    'fe80::1%eth0',
    ',',
  ],
  ALLOW_PLAIN_HTTP: ['yes', '1', 'TRUE'],
  DATABASE_URL: ['mysql://a/b', 'a', 'postgres://', 'host=a dbname=b', 'postgres://a:port/b'],
  MIGRATION_DATABASE_URL: ['file:///a'],
  MAILWRIGHT_DATA_DIR: ['a\nb'],
  TOKEN_KEY_FILE: ['a\0b'],
  LOG_LEVEL: ['INFO', 'verbose'],
  MAIL_SERVER: ['192.0.2.1', 'a..b', 'a_b.example', 'bücher.example', `${'a'.repeat(64)}.example`],
  AUTH_ISSUER: [
    'http://a.example',
    'https://a.example?x=1',
    'https://a.example#x',
    'http://localhost.a.example',
    'https://u@a',
  ],
  METRICS_HOST: ['0.0.0.0', '::', '192.0.2.1', 'metrics.example.org'],
  METRICS_PORT: ['-1', '65536'],
  RATE_LIMIT_READS: ['0', '1000001', '-1', '1.5', 'many'],
  RATE_LIMIT_WRITES: ['0'],
  RATE_LIMIT_PASSWORDS: ['0'],
  RATE_LIMIT_NAME_TAKEN: ['0'],
  RATE_LIMIT_CONFIGURATIONS: ['0'],
  AUTH_AUDIENCE: ['a\u0007'],
  AUTH_DOMAINS_CLAIM: ['a\n'],
}

describe('right values', () => {
  for (const [name, values] of Object.entries(good)) {
    for (const value of values) {
      test(`${name}=${value}`, () => assert.deepEqual(mistakesOf({ ...beside[name], [name]: value }), []))
    }
  }
})

describe('wrong values, each one mistake that names the variable', () => {
  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      test(`${name}=${JSON.stringify(value)}`, () => {
        const mistakes = mistakesOf({ ...beside[name], [name]: value })
        assert.equal(mistakes.length, 1, mistakes.join())
        assert.ok(mistakes[0]!.startsWith(`${name} must be `), mistakes.join())
      })
    }
  }
})

test('all mistakes are named at once', () => {
  const wrong = Object.fromEntries(Object.entries(bad).map(([name, values]) => [name, values[0] ?? '']))
  const mistakes = mistakesOf(wrong).map((mistake) => mistake.split(' ')[0])
  assert.deepEqual(new Set(mistakes), new Set(Object.keys(bad)))
})

test('every variable has a description for the README', () => {
  for (const [name, schema] of Object.entries(Environment.properties)) {
    const { description = '' } = schema as { description?: string }
    assert.ok(description.length > 10, name)
  }
})
