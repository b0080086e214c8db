import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHostName } from '../../src/domains/host-name.ts'
import { ProblemError } from '../../src/problems.ts'

const label63 = 'a'.repeat(63)

const accepted: [string, string][] = [
  ['mail.example.jp', 'mail.example.jp'],
  ['MAIL.Example.JP.', 'mail.example.jp'],
  ['mailhost', 'mailhost'],
  ['xn--v8j2c8e.jp', 'xn--v8j2c8e.jp'],
  ['1.example.jp', '1.example.jp'],
  [`${label63}.jp`, `${label63}.jp`],
  [`${`${label63}.`.repeat(3)}${'b'.repeat(61)}`, `${`${label63}.`.repeat(3)}${'b'.repeat(61)}`],
]

for (const [text, name] of accepted) {
  test(`reads the host name ${text.slice(0, 40)} of ${text.length} octets`, () => {
    assert.equal(parseHostName(text, '/mail_server'), name)
  })
}

const refused: [string, string][] = [
  ['nothing', ''],
  ['a period alone', '.'],
  ['a leading period', '.example.jp'],
  ['two trailing periods', 'example.jp..'],
  ['two periods in a row', 'mail..example.jp'],
  ['a leading hyphen', '-mail.example.jp'],
  ['a trailing hyphen', 'mail-.example.jp'],
  ['an underscore', 'mail_1.example.jp'],
  ['a space', 'mail example.jp'],
  ['a line feed at the end', 'mail.example.jp\n'],
  ['a port', 'mail.example.jp:993'],
  ['a path', 'mail.example.jp/x'],
  ['brackets', '[::1]'],
  ['U-labels', 'みなと.jp'],
  ['the Kelvin sign, which lower-casing would turn into k', 'mail.\u212Aobe.jp'],
  ['NUL', 'mail\0.jp'],
  ['a label of 64 octets', `${label63}a.jp`],
  ['254 octets', `${`${label63}.`.repeat(3)}${'b'.repeat(62)}`],
]

for (const [what, text] of refused) {
  test(`refuses a host name with ${what}`, () => {
    assert.throws(
      () => parseHostName(text, '/mail_server'),
      (error) =>
        error instanceof ProblemError &&
        error.code === 'invalid-domain-name' &&
        error.errors?.[0]?.pointer === '/mail_server',
    )
  })
}
