import assert from 'node:assert/strict'
import { test } from 'node:test'
import { argon2id } from 'hash-wasm'
import { fitsArgon2id } from '../../src/accounts/argon2id-check.ts'
import { deriveVerifiers } from '../../src/accounts/verifiers.ts'

const password = 'Zürich im Regen 7'
const [own] = await deriveVerifiers(password, { mechanisms: [], scramIterations: 4096 })
const other = await argon2id({
  password,
  salt: Buffer.from('a salt of its own'),
  iterations: 2,
  memorySize: 1024,
  parallelism: 2,
  hashLength: 24,
  outputType: 'encoded',
})

test('knows the password of what is stored, by the parameters that are stored', async () => {
  for (const verifier of [own!.verifier, other]) {
    assert.equal(await fitsArgon2id(password, verifier), true)
    assert.equal(await fitsArgon2id(`${password} `, verifier), false)
    assert.equal(await fitsArgon2id(password.toUpperCase(), verifier), false)
  }
})

test('takes the decomposed form for the same password', async () => {
  assert.notEqual(password.normalize('NFD'), password)
  assert.equal(await fitsArgon2id(password.normalize('NFD'), own!.verifier), true)
})

test('fits nothing to no verifier, and to one of another kind', async () => {
  const others = [null, '', '$2b$10$abcdefghijklmnopqrstuv', own!.verifier.replace('argon2id', 'argon2i')]
  for (const verifier of others) assert.equal(await fitsArgon2id(password, verifier), false)
})
