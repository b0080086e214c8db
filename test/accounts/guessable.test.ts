import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadCommonPasswords } from '../../src/accounts/common-passwords.ts'
import { estimate } from '../../src/accounts/guessable.ts'

const isCommon = await loadCommonPasswords()
const count = (text: string, ...words: string[]) => estimate(text, { words, isCommon })

const counted: [text: string, words: string[], characters: number, guesses: string[]][] = [
  ['mxq7!vtr2kpw', [], 12, []],
  ['correct horse battery staple', [], 28, []],
  ['a new password', [], 14, []], // a common one inside of others is a word like any other
  ['Password', [], 1, ['common']],
  ['password2026!', [], 6, ['common']],
  ['2026Password?', [], 6, ['common']],
  ['P4$$w0rd!!!', [], 2, ['common', 'pattern']],
  ['dr4g0n', [], 1, ['common']],
  ['aaaaaaaaaaaa', [], 2, ['pattern']],
  ['passwordpassword', [], 2, ['common', 'pattern']],
  ['passwordpasswordpass', [], 2, ['common', 'pattern']],
  ['mxq7mxq7mxq7', [], 5, ['pattern']],
  ['mq1234vz', [], 5, ['pattern']],
  ['mq8765vz', [], 5, ['pattern']],
  ['mqdefgvz', [], 5, ['pattern']],
  ['mqxxxvz', [], 5, ['pattern']],
  ['mq123vz', [], 7, []],
  ['Taro.Yamada99!', ['yamada', 'taro'], 6, ['personal']],
  ['t4r0.y@mada99!', ['yamada', 'taro'], 6, ['personal']],
  ['w1lliams-mq', ['williams'], 4, ['personal']],
  ['wi11iams-mq', ['williams'], 4, ['personal']],
  ['user05@example.jp', ['user05@example.jp', 'example.jp', 'user05'], 1, ['personal']],
  ['山田太郎のパスワード', ['山田太郎'], 7, ['personal']],
  ['𠀋𠀋𠀋abq', [], 4, ['pattern']],
]
for (const [text, words, characters, guesses] of counted) {
  test(`counts ${characters} in ${text}`, () => {
    const seen = count(text, ...words)
    assert.deepEqual([seen.characters, [...seen.guesses].sort()], [characters, guesses])
  })
}

const anything = fc.string({ unit: 'binary', minLength: 1, maxLength: 128 })

test('never counts more than there is, nor more with more words, and at least one', () => {
  fc.assert(
    fc.property(
      anything,
      fc.array(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 5 }),
      (text, words) => {
        const plain = count(text).characters
        assert.ok(plain >= 1 && plain <= [...text.toLowerCase()].length)
        assert.ok(count(text, ...words).characters >= 1)
      },
    ),
    { numRuns: 500 },
  )
})

test('is quick with the longest password and the longest display name', () => {
  const words = Array.from({ length: 66 }, (_, i) => `aa${String.fromCharCode(97 + (i % 26))}`)
  count(`${'a'.repeat(127)}b`, ...words) // compiled by then
  const begun = process.cpuUsage()
  for (let i = 0; i < 20; i += 1) count(`${'a'.repeat(127)}b`, ...words)
  assert.ok(process.cpuUsage(begun).user / 20 < 20_000, 'less than 20 ms each')
})
