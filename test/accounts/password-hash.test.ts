import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePasswordHash } from '../../src/accounts/password-hash.ts'

const b64 = (length: number) => 'A'.repeat(length)
const argon2 = (m: number, t: number, p: number) =>
  `$argon2id$v=19$m=${m},t=${t},p=${p}$${b64(22)}$${b64(43)}`
const sha512 = (rounds: string) => `$6$${rounds}salt$${b64(86)}`
const bcrypt = (cost: string) => `$2y$${cost}$${b64(53)}`
const scram = (count: number) => `{SCRAM-SHA-256}${count},${b64(22)}==,${b64(43)}=,${b64(43)}=`

const taken: [string, string | undefined][] = [
  [argon2(65_536, 10, 4), undefined],
  [`{argon2id}${argon2(8, 1, 1)}`, undefined],
  [bcrypt('12'), 'BLF-CRYPT'],
  [`{CRYPT}${sha512('')}`, 'SHA512-CRYPT'],
  [sha512('rounds=656000$'), 'SHA512-CRYPT'],
  [`{PBKDF2}$1$salt$100000$${'0'.repeat(40)}`, 'PBKDF2'],
  [scram(1_000_000), 'SCRAM-SHA-256'],
]

const refused = [
  ...['', 'secret', '{PLAIN}secret', '{CLEARTEXT}secret', '{OTP}x', '{PLAIN-MD4}x', '{LDAP-MD5}x', '$1$a$b'],
  ...[
    bcrypt('13'),
    bcrypt('31'),
    bcrypt('03'),
    `{SHA512-CRYPT}${bcrypt('10')}`,
    `{BLF-CRYPT.B64}${bcrypt('10')}`,
  ],
  ...[sha512('rounds=656001$'), sha512('rounds=999999999$'), sha512('rounds=999$'), sha512('rounds=x$')],
  ...[
    argon2(65_537, 1, 1),
    argon2(4_194_304, 1, 1),
    argon2(64, 11, 1),
    argon2(64, 1, 5),
    argon2(7, 1, 1),
    argon2(31, 1, 4),
  ],
  ...[scram(1_000_001), scram(2_147_483_647), scram(4_095), `{PBKDF2}$1$salt$100001$${'0'.repeat(40)}`],
  ...[
    `${sha512('')}\n`,
    `{SHA512-CRYPT}{PLAIN}x`,
    ` ${sha512('')}`,
    `{PBKDF2}$1$${b64(500)}$1$${'0'.repeat(40)}`,
  ],
]

test('takes the schemes that are named, within their bounds', () => {
  for (const [text, scheme] of taken) {
    const [clear, ...others] = parsePasswordHash(text)
    assert.deepEqual([clear?.mechanism, clear?.scheme], ['ARGON2ID', scheme], text)
    assert.equal(others.length, scheme === 'SCRAM-SHA-256' ? 1 : 0)
    assert.doesNotMatch(clear!.verifier, /^\{/)
  }
})

test('refuses all others, and repeats nothing of them', () => {
  for (const text of refused) {
    assert.throws(
      () => parsePasswordHash(text),
      (error: { code: string; message: string }) => {
        assert.equal(error.code, 'password-hash-refused', text)
        if (text.length > 8) assert.ok(!error.message.includes(text), text)
        return true
      },
    )
  }
})
