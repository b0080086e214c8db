import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProblemError } from '../src/problems.ts'
import { describeCharacter, parseFreeText } from '../src/text.ts'

const kept: [string, string][] = [
  ['the empty string', ''],
  ['spaces at the ends', '  Suzuki Ichiro '],
  ['an ideographic space', '山田\u3000太郎'],
  ['a variant kanji with its selector', '葛\u{E0100}城'],
  ['an emoji with its selector', '\u2764\uFE0F'],
  ['a right-to-left name', 'מרים'],
  ['markup and formulas, which are for their readers to escape', '=1+1 <b>"&'],
  ['200 characters', 'x'.repeat(200)],
  ['200 characters outside the basic plane', '\u{20BB7}'.repeat(200)],
]

for (const [what, text] of kept) {
  test(`free text keeps ${what}`, () => {
    assert.equal(parseFreeText(text, '/label'), text)
  })
}

const refused: [string, string, RegExp][] = [
  ['NUL', 'a\0b', /U\+0000/],
  ['a line feed', 'a\nb', /U\+000A/],
  ['a carriage return', 'a\rb', /U\+000D/],
  ['a tab', 'a\tb', /U\+0009/],
  ['an escape', '\x1B[31m', /U\+001B/],
  ['DEL', 'a\x7F', /U\+007F/],
  ['a C1 control', 'a\x9B', /U\+009B/],
  ['a line separator', 'a\u2028b', /U\+2028/],
  ['a paragraph separator', 'a\u2029b', /U\+2029/],
  ['a right-to-left override', 'a\u202Eb', /U\+202E/],
  ['a bidi isolate', 'a\u2066b', /U\+2066/],
  ['an Arabic letter mark', 'a\u061Cb', /U\+061C/],
  ['a zero-width space', 'a\u200Bb', /U\+200B/],
  ['a zero-width joiner', 'a\u200Db', /U\+200D/],
  ['a byte order mark', '\uFEFFa', /U\+FEFF/],
  ['a soft hyphen', 'a\u00ADb', /U\+00AD/],
  ['a combining grapheme joiner', 'a\u034Fb', /U\+034F/],
  ['a Hangul filler', 'a\u3164b', /U\+3164/],
  ['a tag character', 'a\u{E0041}', /U\+E0041/],
  ['a variation selector by itself', '\uFE0F', /U\+FE0F/],
  ['a variation selector behind a space', 'a \uFE0F', /U\+FE0F/],
  ['variation selectors in a row', 'a\uFE0F\u{E0101}', /U\+E0101/],
  ['half a surrogate pair', 'a\uD800', /U\+D800/],
  ['201 characters', 'x'.repeat(201), /at most 200 characters; this one has 201/],
]

for (const [what, text, detail] of refused) {
  test(`free text refuses ${what}`, () => {
    assert.throws(
      () => parseFreeText(text, '/display_name'),
      (error) => {
        assert.ok(error instanceof ProblemError)
        assert.equal(error.code, 'invalid-request')
        assert.match(error.detail ?? '', detail)
        assert.deepEqual(error.errors, [{ pointer: '/display_name', detail: error.detail }])
        return true
      },
    )
  })
}

test('free text is composed before it is measured', () => {
  assert.equal(parseFreeText('e\u0301'.repeat(200), '/label'), '\u00E9'.repeat(200))
})

test('free text is measured as it is stored, also where composing makes it longer', () => {
  assert.equal('\uFB2C'.normalize('NFC').length, 3)
  assert.throws(() => parseFreeText('\uFB2C'.repeat(67), '/label'), { code: 'invalid-request' })
})

const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), utf16())

function utf16() {
  return fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units))
}

test('any text is refused with its problem or becomes a text that parses to itself', () => {
  let parsed = 0
  const property = fc.property(anyText, (text) => {
    try {
      const once = parseFreeText(text, '/label')
      parsed += 1
      assert.equal(parseFreeText(once, '/label'), once)
      assert.equal(once, text.normalize('NFC'))
      assert.doesNotMatch(once, /[\p{Cc}\p{Cf}\p{Bidi_Control}\u2028\u2029]/u)
      assert.ok(once.isWellFormed())
    } catch (error) {
      assert.ok(error instanceof ProblemError, String(error))
      assert.equal(error.code, 'invalid-request')
      assert.match(error.detail ?? '', /^[ -~]+$/)
    }
  })
  fc.assert(property, { numRuns: 2000 })
  assert.ok(parsed > 100, `only ${parsed} texts were accepted`)
})

test('a detail shows printable ASCII and gives the code point of the rest', () => {
  const names = ['+', ' ', '\0', '\x7F', '\u00E9', '\u{1F600}', '\uD800'].map(describeCharacter)
  assert.deepEqual(names, ['"+"', 'a space', 'U+0000', 'U+007F', 'U+00E9', 'U+1F600', 'U+D800'])
})
