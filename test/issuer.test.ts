import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { base64url, exportSPKI, type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { createIssuer } from '../src/issuer.ts'
import { ProblemError } from '../src/problems.ts'
import {
  createSigningKey,
  startIdentityProvider,
  startServer,
  stopServer,
} from './support/identity-provider.ts'
import { startOidcProvider } from './support/oidc-provider.ts'

const audience = 'mailwright'

async function start(t: TestContext, path = '') {
  const provider = await startIdentityProvider(path)
  t.after(provider.stop)
  return { ...provider, verify: createIssuer({ issuer: provider.issuer, audience }).verify }
}

function holdClock(t: TestContext): (seconds: number) => void {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
  return (seconds) => t.mock.timers.tick(seconds * 1000)
}

function isUnavailable(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'unavailable' && error.retryAfterSeconds === 5
}

test('verifies access tokens of oidc-provider, through its change of keys', async (t) => {
  const tick = holdClock(t)
  const provider = await startOidcProvider()
  t.after(provider.stop)
  const { verify } = createIssuer({ issuer: provider.issuer, audience: 'https://mail.example/' })
  const old = await provider.getToken('domains:read')
  const claims = await verify(old)
  assert.deepEqual(
    [claims.sub, claims.scope, claims.mailwright_domains],
    ['hr', 'domains:read', ['example.jp']],
  )

  await provider.rotate({ keepOld: true })
  tick(31)
  await verify(await provider.getToken('domains:read'))
  await verify(old)

  await provider.rotate({ keepOld: false })
  tick(601)
  await verify(await provider.getToken('domains:read'))
  await assert.rejects(verify(old), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

test('refuses tokens of oidc-provider for another audience, of another instance and expired ones', async (t) => {
  const tick = holdClock(t)
  const [provider, other] = [await startOidcProvider(), await startOidcProvider()]
  t.after(provider.stop)
  t.after(other.stop)
  const { verify } = createIssuer({ issuer: provider.issuer, audience: 'https://mail.example/' })
  await assert.rejects(verify(await provider.getToken('domains:read', 'https://else.example/')), {
    claim: 'aud',
  })
  await assert.rejects(verify(await other.getToken('domains:read')), {
    code: /ERR_JWS_SIGNATURE|ERR_JWKS_NO_MATCHING/,
  })
  const token = await provider.getToken('domains:read')
  tick(3600 + 6)
  await assert.rejects(verify(token), { code: 'ERR_JWT_EXPIRED' })
})

for (const alg of ['RS256', 'PS384', 'ES256', 'ES512', 'Ed25519', 'EdDSA']) {
  test(`accepts ${alg}`, async (t) => {
    const { state, sign, verify } = await start(t)
    const key = await createSigningKey('other', alg)
    state.keys = [key.jwk]
    assert.equal((await verify(await sign({}, {}, key))).sub, 'hr-system')
  })
}

const now = () => Math.floor(Date.now() / 1000)
const badClaims: [name: string, claims: (issuer: string) => JWTPayload, expected: object][] = [
  ['of another issuer', () => ({ iss: 'https://else.example' }), { claim: 'iss' }],
  ['of the same issuer with a slash more', (issuer) => ({ iss: `${issuer}/` }), { claim: 'iss' }],
  ['of no issuer', () => ({ iss: undefined as never }), { claim: 'iss' }],
  ['for another audience', () => ({ aud: 'else' }), { claim: 'aud' }],
  ['for other audiences', () => ({ aud: ['else', 'mailwright2'] }), { claim: 'aud' }],
  ['for nobody', () => ({ aud: undefined as never }), { claim: 'aud' }],
  ['that is expired', () => ({ exp: now() - 6 }), { code: 'ERR_JWT_EXPIRED' }],
  ['that never expires', () => ({ exp: undefined as never }), { claim: 'exp' }],
  ['that is not valid yet', () => ({ nbf: now() + 60 }), { claim: 'nbf' }],
]
for (const [name, claims, expected] of badClaims) {
  test(`refuses a token ${name}`, async (t) => {
    const { issuer, sign, verify } = await start(t)
    await assert.rejects(verify(await sign(claims(issuer))), expected)
  })
}

test('accepts a token for several audiences and a clock that is a few seconds off', async (t) => {
  const { sign, verify } = await start(t)
  await verify(await sign({ aud: ['else', audience], exp: now() - 2, nbf: now() + 3 }))
})

for (const typ of ['JWT', 'at+jwt', 'application/at+jwt', undefined]) {
  test(`accepts the type ${typ}`, async (t) => {
    const { sign, verify } = await start(t)
    await verify(await sign({}, { typ }))
  })
}
for (const typ of ['logout+jwt', 'dpop+jwt', 'secevent+jwt', 'application/json', '']) {
  test(`refuses the type "${typ}"`, async (t) => {
    const { sign, verify } = await start(t)
    await assert.rejects(verify(await sign({}, { typ })), { claim: 'typ' })
  })
}

test('refuses alg none, without asking for keys', async (t) => {
  const { issuer, state, verify } = await start(t)
  const token = new UnsecuredJWT({ sub: 'hr' })
    .setIssuer(issuer)
    .setAudience(audience)
    .setExpirationTime('1h')
    .encode()
  await assert.rejects(verify(token), { code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
  const none = `${base64url.encode('{"alg":"None"}')}.${token.split('.')[1]}.`
  await assert.rejects(verify(none), { code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
  assert.deepEqual([state.discoveries, state.keyFetches], [0, 0])
})

test('refuses HS256 with the public key as the secret', async (t) => {
  const { issuer, key, verify } = await start(t)
  for (const secret of [await exportSPKI(key.publicKey), JSON.stringify(key.jwk), key.jwk.n!]) {
    const token = await new SignJWT({ sub: 'hr', scope: 'domains:write' })
      .setProtectedHeader({ alg: 'HS256', kid: key.kid })
      .setIssuer(issuer)
      .setAudience(audience)
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(secret))
    await assert.rejects(verify(token), { code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
  }
})

test('refuses HS256 even when the issuer publishes a symmetric key', async (t) => {
  const { sign, state, verify } = await start(t)
  const secret = new Uint8Array(32).fill(7)
  state.keys = [{ kty: 'oct', k: base64url.encode(secret), kid: 'shared', alg: 'HS256' }]
  const token = sign(
    {},
    {},
    { ...(await createSigningKey('shared')), alg: 'HS256', privateKey: secret as never },
  )
  await assert.rejects(verify(await token), { code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
})

test('refuses another key under a known kid, a changed payload and a cut signature', async (t) => {
  const { sign, verify } = await start(t)
  const forger = await createSigningKey('key-1')
  const [header, , signature] = (await sign()).split('.')
  const payload = (await sign({ scope: 'domains:write' })).split('.')[1]
  const failed = { code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED' }
  await assert.rejects(verify(await sign({}, {}, forger)), failed)
  await assert.rejects(verify(`${header}.${payload}.${signature}`), failed)
  await assert.rejects(verify(`${header}.${payload}.`), failed)
})

test('ignores keys and addresses of keys in the header', async (t) => {
  const { sign, verify } = await start(t)
  const forger = await createSigningKey('forged')
  let asked = 0
  const { origin, server } = await startServer((_request, response) => {
    asked += 1
    response.end(JSON.stringify({ keys: [forger.jwk] }))
  })
  t.after(() => stopServer(server))
  for (const member of [{ jku: origin }, { x5u: origin }, { jwk: forger.jwk }]) {
    await assert.rejects(verify(await sign({}, member, forger)), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
    await assert.rejects(verify(await sign({}, { ...member, kid: 'key-1' }, forger)), {
      code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
    })
  }
  assert.equal(asked, 0)
})

test('a token without kid is accepted while one key fits, and refused when several do', async (t) => {
  const tick = holdClock(t)
  const { sign, state, verify } = await start(t)
  const token = await sign({}, { kid: undefined })
  await verify(token)
  state.keys = [...state.keys, (await createSigningKey('key-2')).jwk]
  tick(601)
  await assert.rejects(verify(token), { code: 'ERR_JWKS_MULTIPLE_MATCHING_KEYS' })
})

for (const text of [
  '',
  'x',
  'a.b',
  'a.b.c',
  '..',
  `${'a'.repeat(9000)}.b.c`,
  'a.b.c.d.e',
  '\u0000.\u0000.\u0000',
]) {
  test(`refuses the malformed token ${JSON.stringify(text.slice(0, 20))} without asking for keys`, async (t) => {
    const { state, verify } = await start(t)
    await assert.rejects(verify(text), { code: /^ERR_J(WS|WT)_INVALID$/ })
    assert.equal(state.discoveries, 0)
  })
}

test('asks nobody before the first token, and once for many tokens at a time', async (t) => {
  const { sign, state, verify } = await start(t)
  assert.equal(state.discoveries, 0)
  const token = await sign()
  await Promise.all(Array.from({ length: 50 }, () => verify(token)))
  assert.deepEqual([state.discoveries, state.keyFetches], [1, 1])
})

test('unknown kids cost one fetch in 30 seconds, however many come', async (t) => {
  const tick = holdClock(t)
  const { sign, state, verify } = await start(t)
  const stranger = await createSigningKey('unknown')
  const tokens = await Promise.all(
    Array.from({ length: 50 }, (_, i) => sign({}, { kid: `unknown-${i}` }, stranger)),
  )
  const refuseAll = () =>
    Promise.all(tokens.map((token) => assert.rejects(verify(token), { code: 'ERR_JWKS_NO_MATCHING_KEY' })))
  await refuseAll()
  await refuseAll()
  assert.equal(state.keyFetches, 1)
  tick(29)
  await refuseAll()
  assert.equal(state.keyFetches, 1)
  tick(2)
  await refuseAll()
  await refuseAll()
  assert.deepEqual([state.discoveries, state.keyFetches], [1, 2])
})

test('while the keys cannot be fetched, known ones go on and unknown ones are 503, not 401', async (t) => {
  const tick = holdClock(t)
  const { sign, state, behaviour, verify } = await start(t)
  await verify(await sign())
  behaviour.keys = (_request, response) => response.writeHead(500).end()
  tick(31)
  const young = await createSigningKey('key-2')
  const tokens = await Promise.all(Array.from({ length: 50 }, () => sign({}, {}, young)))
  const allUnavailable = () =>
    Promise.all(tokens.map((token) => assert.rejects(verify(token), isUnavailable)))
  await allUnavailable()
  tick(6)
  await allUnavailable()
  await verify(await sign())
  assert.equal(state.keyFetches, 2)

  behaviour.keys = undefined
  state.keys = [...state.keys, young.jwk]
  tick(25)
  await verify(tokens[0]!)
  assert.equal(state.keyFetches, 3)
})

test('answers 503 when the issuer is away, and tries again every few seconds', async (t) => {
  const tick = holdClock(t)
  const { sign, state, behaviour, verify } = await start(t)
  behaviour.discovery = (_request, response) => response.destroy()
  const token = await sign()
  const allUnavailable = () =>
    Promise.all(Array.from({ length: 20 }, () => assert.rejects(verify(token), isUnavailable)))
  await allUnavailable()
  await allUnavailable()
  assert.equal(state.discoveries, 1)
  tick(6)
  await allUnavailable()
  assert.equal(state.discoveries, 2)
  behaviour.discovery = undefined
  await assert.rejects(verify(token), isUnavailable)
  tick(6)
  await verify(token)
  assert.equal(state.discoveries, 3)
})

test('a clock that is set back does not stop the tries', async (t) => {
  const { sign, behaviour, verify } = await start(t)
  const token = await sign()
  behaviour.discovery = (_request, response) => response.destroy()
  await assert.rejects(verify(token), isUnavailable)
  behaviour.discovery = undefined
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() - 3_600_000 })
  await verify(token)
})

const big = 'x'.repeat(1024 * 1024)
const badAnswers: [name: string, answer: RequestListener, cause: RegExp][] = [
  ['an error', (_request, response) => response.writeHead(404).end('{}'), /status 404/],
  [
    'a redirect',
    (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end(),
    /status 302/,
  ],
  ['no JSON', (_request, response) => response.end('<html>'), /JSON/],
  ['nothing', (_request, response) => response.writeHead(204).end(), /status 204/],
  ['null', (_request, response) => response.end('null'), /issuer|JSON Web Key Set/],
  [
    'more than a mebibyte',
    (_request, response) => response.end(JSON.stringify({ keys: [], big })),
    /1048576 bytes/,
  ],
  ['an endless stream', (_request, response) => endless(response), /1048576 bytes/],
]
function endless(response: Parameters<RequestListener>[1]): void {
  const write = () => {
    while (!response.destroyed && response.write(big));
  }
  response.on('drain', write)
  write()
}
for (const [name, answer, cause] of badAnswers) {
  for (const document of ['discovery', 'keys'] as const) {
    test(`answers 503 when the ${document} are ${name}, and follows nothing`, async (t) => {
      const { sign, state, behaviour, verify } = await start(t)
      behaviour[document] = answer
      await assert.rejects(verify(await sign()), (error: ProblemError) => {
        assert.ok(isUnavailable(error))
        assert.match(String(error.cause), cause)
        return true
      })
      assert.equal(state.others, 0)
    })
  }
}

for (const keys of ['x', [1], [null], { 0: {} }]) {
  test(`answers 503 for the key set ${JSON.stringify(keys)}`, async (t) => {
    const { sign, state, verify } = await start(t)
    state.keys = keys as never
    await assert.rejects(verify(await sign()), isUnavailable)
  })
}

const badMetadata: [metadata: object, cause: RegExp][] = [
  [{ issuer: 'https://else.example' }, /about another issuer/],
  [{ issuer: undefined }, /about another issuer/],
  [{ jwks_uri: undefined }, /no usable jwks_uri/],
  [{ jwks_uri: '/keys' }, /no usable jwks_uri/],
  [{ jwks_uri: 'http://keys.example/' }, /must be an https address/],
  [{ jwks_uri: 'http://127.0.0.1.example/' }, /must be an https address/],
  [{ jwks_uri: 'file:///etc/passwd' }, /must be an https address/],
  [{ jwks_uri: 'data:application/json,{"keys":[]}' }, /must be an https address/],
]
for (const [metadata, cause] of badMetadata) {
  test(`answers 503 for the metadata ${JSON.stringify(metadata)}`, async (t) => {
    const { sign, state, verify } = await start(t)
    state.metadata = metadata
    await assert.rejects(verify(await sign()), (error: ProblemError) => {
      assert.ok(isUnavailable(error))
      assert.match(String(error.cause), cause)
      return true
    })
    assert.equal(state.keyFetches, 0)
  })
}

test('answers 503 within some seconds when the issuer accepts and says nothing', async (t) => {
  const { sign, behaviour, verify } = await start(t)
  behaviour.discovery = () => {}
  const started = performance.now()
  await assert.rejects(verify(await sign()), isUnavailable)
  const seconds = (performance.now() - started) / 1000
  assert.ok(seconds > 4 && seconds < 30, `${seconds} s`)
})

for (const issuer of [
  'http://id.example',
  'http://10.0.0.1/',
  'ftp://id.example',
  'http://localhost.example',
]) {
  test(`does not start with the issuer ${issuer}`, () => {
    assert.throws(() => createIssuer({ issuer, audience }), /must be an https address/)
  })
}

for (const path of ['/tenant/', '/tenant/v2.0', '/oauth2/default', '/realms/example']) {
  test(`finds the metadata of an issuer at ${path}`, async (t) => {
    const { sign, state, verify } = await start(t, path)
    await verify(await sign())
    assert.equal(state.discoveries, 1)
  })
}
