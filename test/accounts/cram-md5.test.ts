import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { createMD5 } from 'hash-wasm'
import { cramMd5Verifier } from '../../src/accounts/cram-md5.ts'

// `doveadm pw -s CRAM-MD5 -p PASSWORD` of Dovecot 2.3.19.1 (Debian 12).
const vectors: [password: string, verifier: string][] = [
  ['tanstaaftanstaaf', 'd06d4e1b26fccaa4b0b61801132340a354b21152711fb604ca3e035e7015116b'],
  ['pencil', '7f47ace0e2af8f6cdeb72c03243a8c87834e19104164d6a42de72d243adb4080'],
  ['password', '9186d855e11eba527a7a52ca82b313e180d62234f0acc9051b527243d41e2740'],
  ['пароль-пароль', '7843a1517f5976e44137e1462261959c6b09baf91347179faed835ae742592e0'],
  ['x'.repeat(80), 'ff6454343902c25cfaf14768b382dae3172680a33b4792a34267ff0628fbfe89'],
]

for (const [password, verifier] of vectors) {
  test(`makes the verifier that Dovecot makes of ${password.slice(0, 20)}`, () => {
    assert.equal(cramMd5Verifier(password), verifier)
  })
}

test('answers the challenge of RFC 2195 §2', async () => {
  const challenge = '<1896.697170952@postoffice.reston.mci.net>'
  const digest = await finishHmac(cramMd5Verifier('tanstaaftanstaaf'), Buffer.from(challenge))
  assert.equal(digest, 'b913a602c7eda7a495b4e6e7334d3890')
})

// Around the block of 64 octets, where RFC 2104 §2 begins to hash the key, and as long as a password may be.
for (const octets of [0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 512]) {
  test(`is HMAC-MD5 half done for keys of ${octets} octets`, async () => {
    for (let i = 0; i < 20; i += 1) {
      const key = randomBytes(octets)
        .toString('latin1')
        .replace(/[^ -~]/g, 'k')
      assert.equal(Buffer.byteLength(key), octets)
      const message = randomBytes(i * 17)
      const expected = createHmac('md5', key).update(message).digest('hex')
      assert.equal(await finishHmac(cramMd5Verifier(key), message), expected)
    }
  })
}

/** RFC 2104 §2 from the two states on, by the MD5 of hash-wasm. */
async function finishHmac(verifier: string, message: Buffer): Promise<string> {
  const outer = Buffer.from(verifier.slice(0, 32), 'hex')
  const inner = Buffer.from(verifier.slice(32), 'hex')
  return (await finishMd5(outer, await finishMd5(inner, message))).toString('hex')
}

async function finishMd5(state: Buffer, message: Buffer): Promise<Buffer> {
  const md5 = await createMD5()
  // What hash-wasm saves after one block: 4 octets of its version, 8 of the length, then the 16 of the state.
  const saved = Buffer.from(md5.init().update(Buffer.alloc(64)).save())
  state.copy(saved, 12)
  return Buffer.from(md5.load(saved).update(message).digest('binary'))
}
