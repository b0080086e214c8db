import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readMailConfig } from '../../src/mail/config.ts'

test('has the ports of the documentation where nobody names others', () => {
  assert.deepEqual(readMailConfig({ SMTP_PORT: '' }).ports, {
    smtp: 2525,
    submission: 2587,
    pop3: 2110,
    pop3s: 2995,
    imap: 2143,
    imaps: 2993,
    doveadm: 2780,
  })
})

test('takes each port from the variable of its name', () => {
  const { ports } = readMailConfig({ SMTP_PORT: '25', SUBMISSION_PORT: '587', IMAPS_PORT: '993' })
  assert.deepEqual([ports.smtp, ports.submission, ports.imaps, ports.pop3s], [25, 587, 993, 2995])
})

test('takes the database of the owner: MIGRATION_DATABASE_URL before DATABASE_URL, else none', () => {
  const [one, other] = ['postgres://owner@db/mail', 'postgres://service@db/mail']
  assert.equal(readMailConfig({ MIGRATION_DATABASE_URL: one, DATABASE_URL: other }).ownerUrl, one)
  assert.equal(readMailConfig({ DATABASE_URL: other }).ownerUrl, other)
  assert.equal(readMailConfig({}).ownerUrl, undefined)
})

describe('refuses', () => {
  const wrong: [env: Record<string, string>, named: string][] = [
    [{ SMTP_PORT: '0' }, 'SMTP_PORT'],
    [{ IMAP_PORT: '65536' }, 'IMAP_PORT'],
    [{ POP3_PORT: '110 143' }, 'POP3_PORT'],
    [{ DATABASE_URL: 'mysql://db' }, 'DATABASE_URL'],
    [{ MAIL_HOST: 'mail.example.jp' }, 'MAIL_HOST'],
    [{ MAIL_HOST: '127.0.0.1\nssl = no' }, 'MAIL_HOST'],
    [{ MAIL_CERT_FILE: '/nowhere/cert.pem' }, 'MAIL_CERT_FILE'],
    [{ MAIL_DOVECOT: '/nowhere/dovecot' }, 'MAIL_DOVECOT'],
    [{ MAIL_READ_DATABASE_URL: 'postgres://mail_read@db/mail' }, 'MAIL_READ_DATABASE_URL'],
  ]
  for (const [env, named] of wrong) {
    test(JSON.stringify(env), () => assert.throws(() => readMailConfig(env), { message: RegExp(named) }))
  }

  test('all mistakes at once', () => {
    assert.throws(() => readMailConfig({ SMTP_PORT: 'x', MAIL_HOST: 'y' }), {
      message: /SMTP_PORT[\s\S]*MAIL_HOST/,
    })
  })
})
