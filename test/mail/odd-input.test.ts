import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { connectAs } from '../support/mail.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const reader = await connectAs(service.admin.options.connectionString ?? '', 'read')
after(() => reader.end())

before(async () => {
  await admin.post('/v1/domains', { name: 'example.jp' })
  await admin.post('/v1/mailboxes', { address: 'user05@example.jp', generate_password: true })
  await admin.post('/v1/mailboxes', {
    address: 'leaver@example.jp',
    generate_password: true,
    forward_to: ['user05@example.jp', 'leaver@elsewhere.example'],
    keep_copy: false,
  })
})

/** Every call that a mail server can make, and the most rows it may answer with. */
const calls: [statement: string, parameters: (text: string) => (string | null)[], most: number][] = [
  ["select * from mail.passdb($1, 'PLAIN', 'imap')", (text) => [text], 1],
  ["select * from mail.passdb($1, 'SCRAM-SHA-256', 'imap')", (text) => [text], 1],
  ["select * from mail.passdb($1 || '@example.jp', 'CRAM-MD5', 'imap')", (text) => [text], 1],
  ["select * from mail.passdb('user05', $1, $1)", (text) => [text], 1],
  ['select * from mail.userdb($1, $1)', (text) => [text], 0],
  ["select * from mail.userdb($1 || '@example.jp', 'doveadm')", (text) => [text], 0],
  ["select * from mail.userdb('user05@' || $1, 'doveadm')", (text) => [text], 0],
  ['select * from mail.domain($1)', (text) => [text], 0],
  ...(['mailbox', 'alias', 'sender_login', 'recipient_access'] as const).flatMap((name): typeof calls => [
    [`select * from mail.${name}($1, 'example.jp')`, (text) => [text], 0],
    [`select * from mail.${name}('user05', $1)`, (text) => [text], 0],
    [`select * from mail.${name}($1, $1)`, (text) => [text], 0],
  ]),
  ["select * from mail.alias('leaver+' || $1, 'example.jp')", (text) => [text], 2],
  ["select * from mail.recipient_access('leaver+' || $1, 'example.jp')", (text) => [text], 1],
]

async function askEverything(text: string | null): Promise<void> {
  for (const [statement, , most] of calls) {
    const { rows } = await reader.query(statement, [text])
    assert.ok(rows.length <= most, `${statement} answers ${JSON.stringify(text)} with ${rows.length} rows`)
  }
}

test('answers every byte that a client can send in a login or an address', async () => {
  // the mail servers speak LATIN1, where each byte is the character of that number
  for (let byte = 0x01; byte <= 0xff; byte += 1) {
    const character = String.fromCharCode(byte)
    await askEverything(character)
    await askEverything(`a${character}b`)
  }
})

for (const [what, text] of [
  ['no text at all', null],
  ['an empty text', ''],
  ['10 kB of letters', 'a'.repeat(10_000)],
  ['10 kB of at signs', '@'.repeat(10_000)],
  ['10 kB of plus signs', '+'.repeat(10_000)],
  ['quotes', `"'""''`],
  ['a statement', `'; drop table app.mailboxes; --`],
  ['patterns', '%_%'],
  ['a format', '%s%d%1$s{0}$1$$'],
  ['backslashes', `\\000\\x00\\'`],
  ['an address in an address', 'a@b@c@'],
] as const) {
  test(`answers ${what}`, () => askEverything(text))
}

test('answers any text', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 300 }).filter((value) => !value.includes('\0'))
  await fc.assert(fc.asyncProperty(text, askEverything), { numRuns: 200 })
})

test('takes bytes that are no UTF-8 from a mail server', async () => {
  const { rows } = await service.admin.query(
    "select * from mail.passdb(convert_from($1, 'LATIN1'), 'PLAIN', '')",
    [Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0x80, 0x40, 0xed, 0xa0, 0x80])],
  )
  assert.equal(rows.length, 1)
  const setting = await service.admin.query(
    "select array_to_string(rolconfig, ' ') as config from pg_roles where rolname in ('mail_read', 'mail_write')",
  )
  for (const { config } of setting.rows) assert.match(config, /client_encoding=LATIN1/)
})
