import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { generatePassword, nfcForm, parsePassword, saslprepForm } from '../../src/accounts/password.ts'
import type { ProblemCode } from '../../src/catalogue.ts'
import { ProblemError } from '../../src/problems.ts'

const good: [why: string, text: string, prepared: string][] = [
  ['eight characters', 'abcdefgh', 'abcdefgh'],
  ['spaces, also at the ends', '  correct horse ', '  correct horse '],
  ['every printable ASCII character', ascii(), ascii()],
  ['128 characters', 'x'.repeat(128), 'x'.repeat(128)],
  ['512 octets in 128 characters', '𐌰'.repeat(128), '𐌰'.repeat(128)],
  ['128 characters that are 256 units of UTF-16', '𠀋'.repeat(128), '𠀋'.repeat(128)],
  ['eight characters that are sixteen units', '𠀋'.repeat(8), '𠀋'.repeat(8)],
  ['Japanese', 'ひみつのことばです', 'ひみつのことばです'],
  ['RFC 4013 §3: U+00AD is mapped to nothing', 'I\u00adXabcdefg', 'IXabcdefg'],
  ['RFC 4013 §2.1: U+00A0 is mapped to a space', 'pass\u00a0word', 'pass word'],
  ['RFC 4013 §2.1: so is the ideographic space', 'ひみつ\u3000ことばです', 'ひみつ ことばです'],
  ['RFC 4013 §3: NFKC of U+00AA', '\u00aa1234567', 'a1234567'],
  ['RFC 4013 §3: NFKC of U+2168', '\u21681234567', 'IX1234567'],
  ['full-width letters', 'ｐａｓｓｗｏｒｄ', 'password'],
  ['RFC 3454 §6: right-to-left first and last', '\u0627123456\u0628', '\u0627123456\u0628'],
]

for (const [why, text, prepared] of good) {
  test(`accepts ${why}`, () => {
    assert.equal(parsePassword(text), text)
    assert.equal(saslprepForm(parsePassword(text)), prepared)
  })
}

test('keeps the case, and composes what was sent decomposed', () => {
  assert.equal(parsePassword('Pa\u0308ssword'), 'P\u00e4ssword')
  assert.equal(parsePassword('Pa\u0308ssword'), nfcForm('P\u00e4ssword'))
})

const notAccepted: [why: string, text: string][] = [
  ['129 characters', 'x'.repeat(129)],
  ['513 octets, which are always more than 128 characters', `a${'𐌰'.repeat(128)}`],
  ['a huge text', 'x'.repeat(1_000_000)],
  ['129 characters, even of those that are mapped to nothing', `password${'\u00ad'.repeat(121)}`],
  ['NUL, at which Dovecot would end it', 'password\u0000more'],
  ['a line break', 'password\r\n'],
  ['a tab', 'pass\tword'],
  ['DEL', 'password\u007f'],
  ['a C1 control', 'password\u0085'],
  ['a private character', 'password\ue000'],
  ['a non-character', 'password\ufffe'],
  ['U+FFFFF, a non-character that the library lets through', 'password\u{fffff}'],
  ['U+2F868, which Unicode 3.2 decomposed differently', 'password\u{2f868}'],
  ['U+FFFD', 'password\ufffd'],
  ['an ideographic description character', 'password\u2ff0'],
  ['a direction mark', 'password\u200f'],
  ['a language tag', 'password\u{e0041}'],
  ['a lone high surrogate', 'pass\ud800word'],
  ['a lone low surrogate', 'password\udc00'],
  ['U+0221, not assigned in Unicode 3.2', 'password\u0221'],
  ['an emoji, not assigned in Unicode 3.2', 'password😀'],
  ['U+32FF, not assigned in 3.2 though NFKC now makes 令和 of it', 'password㋿'],
  ['U+1F14C, not assigned in 3.2 though NFKC now makes SD of it', 'password\u{1f14c}'],
  ['RFC 4013 §3: right-to-left not last', '\u06271234567'],
  ['right-to-left not first', '1234567\u0627'],
  ['right-to-left together with left-to-right', '\u0627abcdef\u0627'],
  ['only characters that are mapped to nothing', '\u00ad'.repeat(8)],
]

for (const [why, text] of notAccepted) {
  test(`does not accept ${why}`, () => refuses(text, 'password-not-accepted'))
}

const tooWeak: [why: string, text: string][] = [
  ['nothing', ''],
  ['seven characters', 'abcdefg'],
  ['seven characters that are fourteen units of UTF-16', '𠀋'.repeat(7)],
  ['seven characters and one that is mapped to nothing', 'abc\u00addefg'],
  ['seven characters of which one was sent decomposed', 'abcdefe\u0301'],
  ['one ligature that NFKC spells out in eighteen characters', '\ufdfa'],
]

for (const [why, text] of tooWeak) {
  test(`finds ${why} too weak`, () => refuses(text, 'password-too-weak'))
}

test('points to where the password stood', () => {
  assert.throws(
    () => parsePassword('short', '/account/password'),
    (error: ProblemError) => error.errors?.[0]?.pointer === '/account/password',
  )
})

/*
 * Python's `stringprep` and `unicodedata.ucd_3_2_0` are another implementation with the tables of Unicode 3.2. For
 * each code point c but surrogates and the five of Unicode Corrigendum 4, the text c + '12345678' + c was prepared
 * by RFC 4013 (stored string); a line `c, a space, the UTF-8 of the result`, both in hexadecimal, was hashed for
 * each that was accepted.
 */
test('agrees with an implementation on Unicode 3.2 about every code point that 3.2 assigns', () => {
  const hash = createHash('sha256')
  let accepted = 0
  for (let point = 0; point <= 0x10ffff; point += 1) {
    if (isSkipped(point)) continue
    const prepared = prepareOrNothing(`${String.fromCodePoint(point)}12345678${String.fromCodePoint(point)}`)
    if (prepared === undefined) continue
    accepted += 1
    hash.update(`${point.toString(16)} ${Buffer.from(prepared).toString('hex')}\n`)
  }
  assert.equal(accepted, 94958)
  assert.equal(hash.digest('hex'), 'e11f6ce3b3f94b60a2aec70b86071c9315621d647a83263b15e90f4599facc3d')
})

test('generates passwords that it accepts, each another one, in groups that can be typed', () => {
  const passwords = Array.from({ length: 1000 }, generatePassword)
  assert.equal(new Set(passwords).size, 1000)
  for (const password of passwords) {
    assert.match(password, /^[A-HJ-NP-Za-km-z2-9]{5}(-[A-HJ-NP-Za-km-z2-9]{5}){4}$/)
    assert.equal(saslprepForm(parsePassword(password)), password)
  }
})

test('draws each character about equally often', () => {
  const counts = new Map<string, number>()
  const passwords = 4000
  for (let i = 0; i < passwords; i += 1) {
    for (const character of generatePassword().replaceAll('-', ''))
      counts.set(character, (counts.get(character) ?? 0) + 1)
  }
  assert.equal(counts.size, 57)
  const expected = (passwords * 25) / 57
  const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)
  // 56 degrees of freedom: above 120 once in about 600,000 runs. `% 57` of an octet gives about 1,200.
  assert.ok(chiSquare < 120, `chi-square ${chiSquare}`)
})

function ascii(): string {
  return String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 0x20 + i))
}

/** The only text that a client sees of a refusal must not hold any of the password. */
function refuses(text: string, code: ProblemCode): void {
  assert.throws(
    () => parsePassword(text),
    (error) => {
      assert.ok(error instanceof ProblemError)
      assert.equal(error.code, code)
      assert.equal(error.errors?.[0]?.pointer, '/password')
      assert.equal(error.cause, undefined)
      const told = JSON.stringify([error.message, error.detail, error.errors])
      assert.ok(text.length < 5 || !told.includes(JSON.stringify(text).slice(1, -1)), told)
      assert.ok(told.includes('characters'), told)
      return true
    },
  )
}

/** Of the planes that hold only unassigned or private code points a sample is enough: all must be refused. */
function isSkipped(point: number): boolean {
  const plane = point >> 16
  const isAssigned = plane <= 2 || plane === 14
  const isNonCharacter = (point & 0xfffe) === 0xfffe
  return !isAssigned && !isNonCharacter && point % 251 !== 0
}

function prepareOrNothing(text: string): string | undefined {
  try {
    return saslprepForm(text)
  } catch (error) {
    assert.ok(error instanceof ProblemError)
    return undefined
  }
}
