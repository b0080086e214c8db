import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { assertNameFits, lookUpName, namePattern, parseName } from '../../src/accounts/name.ts'
import { ProblemError } from '../../src/problems.ts'

const accepted: [string, string][] = [
  ['user01', 'user01'],
  ['User01', 'user01'],
  ['SUZUKI.ICHIRO', 'suzuki.ichiro'],
  ['a', 'a'],
  ['7', '7'],
  ['a-b_c.d', 'a-b_c.d'],
  ['-', '-'],
  ['_x_', '_x_'],
  ['a.b.c.d', 'a.b.c.d'],
  ['x'.repeat(64), 'x'.repeat(64)],
]

for (const [text, name] of accepted) {
  test(`the name ${JSON.stringify(text)} is accepted as ${name}`, () => {
    assert.equal(parseName(text), name)
    assert.equal(lookUpName(text), name)
  })
}

const refused: [string, RegExp][] = [
  ['', /at least one character/],
  ['.user', /begin with a period/],
  ['.', /begin with a period/],
  ['user.', /end with a period/],
  ['a..b', /two periods in a row/],
  ['user+list', /cannot contain "\+"/],
  ['user name', /cannot contain a space/],
  [' user', /cannot contain a space/],
  ['user ', /cannot contain a space/],
  ['user@example.jp', /cannot contain "@"/],
  ['"user"', /cannot contain """/],
  ['a/b', /cannot contain "\/"/],
  ['..\\b', /cannot contain "\\"/],
  ['a*', /cannot contain "\*"/],
  ['a%', /cannot contain "%"/],
  ["o'brien", /cannot contain "'"/],
  ['user\0', /cannot contain U\+0000/],
  ['user\n', /cannot contain U\+000A/],
  ['a\tb', /cannot contain U\+0009/],
  ['a\x7F', /cannot contain U\+007F/],
  ['jos\u00E9', /cannot contain U\+00E9/],
  ['鈴木', /cannot contain U\+9234/],
  ['\u212Aen', /cannot contain U\+212A/],
  ['u\u017Fer', /cannot contain U\+017F/],
  ['\u0130d', /cannot contain U\+0130/],
  ['\uFF41', /cannot contain U\+FF41/],
  ['a\u200B', /cannot contain U\+200B/],
  ['\u{1F600}', /cannot contain U\+1F600/],
  ['\uD800', /cannot contain U\+D800/],
  ['x'.repeat(65), /at most 64 characters; this one has 65/],
]

for (const [text, detail] of refused) {
  test(`the name ${JSON.stringify(text)} is refused with the rule it breaks`, () => {
    assert.throws(
      () => parseName(text, '/account/name'),
      (error) => {
        assert.ok(error instanceof ProblemError)
        assert.equal(error.code, 'invalid-name')
        assert.match(error.detail ?? '', detail)
        assert.deepEqual(error.errors, [{ pointer: '/account/name', detail: error.detail }])
        return true
      },
    )
  })

  test(`a path with the name ${JSON.stringify(text)} names no account`, () => {
    assert.throws(() => lookUpName(text), { code: 'account-not-found', errors: undefined })
  })
}

test('a wrong name is reported at /name unless told otherwise', () => {
  assert.throws(
    () => parseName('a b'),
    (error) => {
      assert.ok(error instanceof ProblemError)
      return error.errors?.[0]?.pointer === '/name'
    },
  )
})

test('the Kelvin sign and the long s would have become ASCII letters', () => {
  assert.equal('\u212A'.toLowerCase(), 'k')
  assert.equal('\u017F'.toUpperCase().toLowerCase(), 's')
})

test('a name fits as long as it has no more characters than the limit', () => {
  assertNameFits(parseName('x'.repeat(20)), 20)
  assertNameFits(parseName('x'.repeat(64)), 64)
})

test('a name over the limit is refused with both numbers', () => {
  const detail = "Local accounts' names have at most 20 characters here; this one has 23."
  assert.throws(() => assertNameFits(parseName('x'.repeat(23)), 20, '/address'), {
    code: 'invalid-name',
    detail,
    errors: [{ pointer: '/address', detail }],
  })
})

const letters = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_']
const word = fc.string({ unit: fc.constantFrom(...letters), minLength: 1, maxLength: 12 })
const anyName = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('.'))

test('every name built by the rules is accepted, whatever its case', () => {
  const property = fc.property(anyName, (text) => {
    const name = parseName(text)
    assert.equal(name, text.toLowerCase())
    assert.equal(parseName(text.toUpperCase()), name)
    assert.equal(parseName(name), name)
  })
  fc.assert(property)
})

const almostName = fc.string({ unit: fc.constantFrom(...letters, '.', '.', '+', '\u212A'), maxLength: 70 })
const anyText = fc.oneof(almostName, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }))

test('any text is refused with its problem or becomes a name of the grammar', () => {
  const grammar = new RegExp(namePattern)
  const property = fc.property(anyText, (text) => {
    const expected = text.length <= 64 && /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(text)
    try {
      const name = parseName(text)
      assert.ok(expected)
      assert.match(name, grammar)
    } catch (error) {
      assert.ok(error instanceof ProblemError, String(error))
      assert.equal(error.code, 'invalid-name')
      assert.match(error.detail ?? '', /^[ -~]+$/)
      assert.ok(!expected)
    }
  })
  fc.assert(property, { numRuns: 2000 })
})
