import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createVerifiedTokens } from '../src/verified-tokens.ts'

const now = 1_800_000_000 // seconds since 1970
const forEver = Number.POSITIVE_INFINITY

test('a token is good until it expires', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: now * 1000 })
  const tokens = createVerifiedTokens<string>()
  assert.equal(tokens.get('a'), undefined)
  assert.equal(tokens.keep('a', 'whom it names', { exp: now + 60, seconds: forEver }), 'whom it names')
  assert.equal(tokens.get('a'), 'whom it names')
  assert.equal(tokens.get('b'), undefined)
  t.mock.timers.setTime((now + 59) * 1000)
  assert.equal(tokens.get('a'), 'whom it names')
  t.mock.timers.setTime((now + 60) * 1000)
  assert.equal(tokens.get('a'), undefined)
})

test('and no longer than its issuer may leave its key in use', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: now * 1000 })
  const tokens = createVerifiedTokens<string>()
  tokens.keep('a', 'whom it names', { exp: now + 3600, seconds: 60 })
  t.mock.timers.setTime((now + 60) * 1000)
  assert.equal(tokens.get('a'), undefined)
  tokens.keep('without an end', 'whom it names', { exp: undefined, seconds: forEver })
  assert.equal(tokens.get('without an end'), undefined)
})

test('ten thousand are remembered, the first ones go', () => {
  const tokens = createVerifiedTokens<number>()
  for (let i = 0; i <= 10_000; i++)
    tokens.keep(`token ${i}`, i, { exp: Date.now() / 1000 + 60, seconds: forEver })
  assert.equal(tokens.get('token 0'), undefined)
  assert.equal(tokens.get('token 1'), 1)
  assert.equal(tokens.get('token 10000'), 10_000)
})
