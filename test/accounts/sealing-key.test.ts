import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { describe, test } from 'node:test'
import type { JWK } from 'jose'
import { parseSealingKey } from '../../src/accounts/sealing-key.ts'
import { ProblemError } from '../../src/problems.ts'
import { makeSealingPair } from '../support/sealing.ts'

const ec = (await makeSealingPair('P-256')).publicKey
const rsa = (await makeSealingPair(2048)).publicKey
const x25519 = (await makeSealingPair('X25519')).publicKey
// jose makes none so short
const weakRsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })

const kinds: [string, JWK, string][] = [
  ['P-256', ec, 'ECDH-ES+A256KW'],
  ['P-384', (await makeSealingPair('P-384')).publicKey, 'ECDH-ES+A256KW'],
  ['P-521', (await makeSealingPair('P-521')).publicKey, 'ECDH-ES+A256KW'],
  ['X25519', x25519, 'ECDH-ES+A256KW'],
  ['RSA of 2048 bits', rsa, 'RSA-OAEP-256'],
  ['RSA of 4096 bits', (await makeSealingPair(4096)).publicKey, 'RSA-OAEP-256'],
]
for (const [what, jwk, alg] of kinds) {
  test(`takes ${what}`, () => {
    assert.equal(parseSealingKey({ ...jwk }).alg, alg)
    assert.equal(parseSealingKey({ ...jwk, use: 'enc', alg, kid: 'k1', ext: true, x5t: 'x' }).kid, 'k1')
    assert.equal('kid' in parseSealingKey({ ...jwk }), false)
  })
}

test('takes what says that it is for this', () => {
  for (const key_ops of [[], ['deriveKey'], ['deriveBits'], ['deriveKey', 'deriveBits']])
    assert.ok(parseSealingKey({ ...ec, key_ops }))
  for (const key_ops of [['wrapKey'], ['encrypt'], ['encrypt', 'wrapKey']])
    assert.ok(parseSealingKey({ ...rsa, key_ops }))
})

function refusal(jwk: Record<string, unknown>): ProblemError {
  try {
    parseSealingKey(jwk)
  } catch (error) {
    assert.ok(error instanceof ProblemError)
    assert.equal(error.errors?.[0]?.pointer, '/seal_password_to')
    return error
  }
  throw new assert.AssertionError({ message: `taken: ${JSON.stringify(jwk)}` })
}

describe('refuses', () => {
  const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQ'
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
    test(`a private key with ${member}, without an echo`, () => {
      for (const jwk of [ec, rsa, x25519, { kty: 'oct' }]) {
        const error = refusal({ ...jwk, [member]: secret })
        assert.equal(error.code, 'sealing-key-private')
        assert.ok(!JSON.stringify(error).includes(secret) && error.cause === undefined)
      }
    })
  }

  const offCurve = { ...ec, y: ec.x }
  const unsuitable: [string, Record<string, unknown>][] = [
    ['nothing', {}],
    ['a kind that cannot be sealed to', { kty: 'AKP', alg: 'ML-KEM-768', pub: 'AA' }],
    ['a kind that is no text', { kty: ['EC'] }],
    ['Ed25519, which signs', { kty: 'OKP', crv: 'Ed25519', x: x25519.x }],
    ['secp256k1', { ...ec, crv: 'secp256k1' }],
    ['no curve', { kty: 'EC', x: ec.x, y: ec.y }],
    ['a point that is not on the curve', offCurve],
    ['half a point', { kty: 'EC', crv: 'P-256', x: ec.x }],
    ['members of other types', { kty: 'EC', crv: 'P-256', x: 5, y: [] }],
    ['a short X25519 key', { kty: 'OKP', crv: 'X25519', x: 'AAAA' }],
    ['RSA of 1024 bits', { ...weakRsa }],
    ['RSA of 16384 bits', { ...rsa, n: `u${'A'.repeat(2729)}Q` }],
    ['RSA with the exponent 3', { ...rsa, e: 'Aw' }],
    ['RSA without a modulus', { kty: 'RSA', e: 'AQAB' }],
    ['a key that signs', { ...rsa, use: 'sig' }],
    ['another alg', { ...rsa, alg: 'RSA-OAEP' }],
    ['another alg for EC', { ...ec, alg: 'ECDH-ES' }],
    ['key_ops for verifying', { ...rsa, key_ops: ['verify'] }],
    ['no key_ops at all for RSA', { ...rsa, key_ops: [] }],
    ['key_ops that are no list', { ...ec, key_ops: 'deriveKey' }],
    ['a kid that is no text', { ...ec, kid: 5 }],
    ['a kid that is too long', { ...ec, kid: 'k'.repeat(256) }],
  ]
  for (const [what, jwk] of unsuitable) {
    test(what, () => assert.equal(refusal(jwk).code, 'sealing-key-unsuitable'))
  }
})
