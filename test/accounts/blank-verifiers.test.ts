import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blankVerifiers } from '../../src/accounts/blank-verifiers.ts'
import { deriveVerifiers, securePasswordMechanisms, type Verifier } from '../../src/accounts/verifiers.ts'

/** Salts and digests by their length alone. */
function shape({ mechanism, verifier }: Verifier): string {
  return `${mechanism} ${verifier.replace(/[A-Za-z0-9+/]{20,}/g, ({ length }) => `<${length}>`)}`
}

test('blank verifiers are of the shape of derived ones, for every list of mechanisms', async () => {
  for (const mechanisms of [[], ...securePasswordMechanisms.map((one) => [one]), securePasswordMechanisms]) {
    const options = { mechanisms, scramIterations: 4096 }
    const derived = await deriveVerifiers('correct horse battery', options)
    assert.deepEqual(blankVerifiers(options).map(shape), derived.map(shape))
  }
})
