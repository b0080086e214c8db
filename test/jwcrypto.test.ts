import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run } from './support/mail-clients.ts'
import { makeSealingPair } from './support/sealing.ts'
import { startService } from './support/service.ts'

/** `TEST_PYTHON` names another one, such as that of a virtual environment. */
const python = process.env.TEST_PYTHON ?? 'python3'

// Another implementation of RFC 7516 than the one that sealed.
const program = `
import json, sys
from jwcrypto import jwe, jwk
request = json.load(sys.stdin)
token = jwe.JWE()
token.deserialize(request["sealed_password"], key=jwk.JWK(**request["key"]))
print(json.dumps({"header": token.jose_header, "payload": json.loads(token.payload)}))
`

const found = await run(python, ['-c', 'import jwcrypto']).catch(() => ({ code: 1 }))
const missing = found.code !== 0 && 'jwcrypto is not installed for Python: apt-get install python3-jwcrypto'
/** Where the tests have to run, its absence is a failure. */
const skip = process.env.CI === 'true' ? false : missing

const service = await startService()
const admin = await service.as()

for (const kind of ['P-256', 'P-384', 'P-521', 'X25519', 2048]) {
  test(`jwcrypto opens what was sealed to ${kind}`, { skip }, async () => {
    const { publicKey, privateKey } = await makeSealingPair(kind, 'k1')
    const body = { name: `python${kind}`.toLowerCase(), generate_password: true, seal_password_to: publicKey }
    const made = await admin.post('/v1/accounts', body)
    assert.equal(made.status, 201)
    const { sealed_password } = made.body
    const { code, output } = await run(
      python,
      ['-c', program],
      JSON.stringify({ sealed_password, key: privateKey }),
    )
    assert.equal(code, 0, output)
    const { header, payload } = JSON.parse(output)
    assert.deepEqual([header.enc, header.kid, header.cty], ['A256GCM', 'k1', 'json'])
    assert.equal(payload.address, body.name)
    assert.match(payload.password, /^(\w{5}-){4}\w{5}$/)
  })
}
