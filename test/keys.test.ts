import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { decodeProtectedHeader, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose'
import { parseDomainName } from '../src/domains/name.ts'
import { type Grant, loadOrCreateKeys } from '../src/keys.ts'

const grant: Grant = {
  subject: 'command-line',
  scopes: ['domains:read', 'mailboxes:write'],
  domains: '*',
  expiresInSeconds: 60,
}

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keys-'))
})
after(() => rm(folder, { recursive: true }))

async function generateJwk(): Promise<JWK> {
  return exportJWK((await generateKeyPair('Ed25519', { extractable: true })).privateKey)
}

async function loadSet(name: string, set: unknown) {
  const path = join(folder, name)
  await writeFile(path, JSON.stringify(set), { mode: 0o600 })
  return loadOrCreateKeys(path)
}

test('signs what it verifies, with the claims of RFC 9068', async () => {
  const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
  const token = await keys.sign({ ...grant, domains: [parseDomainName('example.jp')] })
  const { alg, typ } = decodeProtectedHeader(token)
  assert.deepEqual({ alg, typ }, { alg: 'Ed25519', typ: 'at+jwt' })
  const { jti, iat, exp, ...claims } = await keys.verify(token)
  assert.deepEqual(claims, {
    iss: keys.installation,
    aud: keys.installation,
    sub: 'command-line',
    client_id: 'command-line',
    scope: 'domains:read mailboxes:write',
    domains: ['example.jp'],
  })
  assert.match(jti ?? '', /^[0-9a-f-]{36}$/)
  assert.equal(exp! - iat!, 60)
})

test('all domains are written out, and the id of the token may be given', async () => {
  const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
  const claims = await keys.verify(await keys.sign({ ...grant, tokenId: 'row-1' }))
  assert.deepEqual([claims.domains, claims.jti], [['*'], 'row-1'])
})

test('loads the same installation again', async () => {
  const path = join(folder, 'again.json')
  const first = await loadOrCreateKeys(path)
  const second = await loadOrCreateKeys(path)
  assert.equal(second.installation, first.installation)
  await second.verify(await first.sign(grant))
})

test('several processes that start at once share one key', async () => {
  const path = join(folder, 'processes', 'token-key.json')
  const program = `import { loadOrCreateKeys } from ${JSON.stringify(import.meta.resolve('../src/keys.ts'))}
    console.log((await loadOrCreateKeys(${JSON.stringify(path)})).installation)`
  const run = () => promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program])
  const ids = (await Promise.all([run(), run(), run(), run()])).map(({ stdout }) => stdout.trim())
  assert.deepEqual([...new Set(ids)], [(await loadOrCreateKeys(path)).installation])
})

test('refuses an expired token', async () => {
  const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
  await assert.rejects(keys.verify(await keys.sign({ ...grant, expiresInSeconds: -6 })), {
    code: 'ERR_JWT_EXPIRED',
  })
})

test('refuses a token of another installation', async () => {
  const here = await loadOrCreateKeys(join(folder, 'token-key.json'))
  const there = await loadOrCreateKeys(join(folder, 'other.json'))
  await assert.rejects(here.verify(await there.sign(grant)), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

test('the first key signs and all verify, so that keys can be changed', async () => {
  const [old, young] = [await generateJwk(), await generateJwk()]
  const before = await loadSet('rotate-1.json', { keys: [old] })
  const during = await loadSet('rotate-2.json', { keys: [young, old] })
  assert.equal(during.installation, before.installation)
  await during.verify(await before.sign(grant))
  await assert.rejects(before.verify(await during.sign(grant)), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
})

test('an old key may be kept as its public part, and the old name of the algorithm is accepted in the file', async () => {
  const [old, young] = [await generateJwk(), { ...(await generateJwk()), alg: 'EdDSA' }]
  const { d, ...oldPublic } = old
  const installation = '0b0e7a3c-1111-4111-8111-111111111111'
  const before = await loadSet('public-1.json', { installation, keys: [old] })
  const after = await loadSet('public-2.json', { installation, keys: [young, oldPublic] })
  assert.equal(after.installation, installation)
  await after.verify(await before.sign(grant))
  await after.verify(await after.sign(grant))
})

test('refuses a key whose halves do not belong together', async () => {
  const [one, other] = [await generateJwk(), await generateJwk()]
  await assert.rejects(
    loadSet('halves.json', { keys: [{ ...one, x: other.x }] }),
    /halves\.json cannot be used/,
  )
})

test('refuses what its own key signed for something else', async () => {
  const jwk = { ...(await generateJwk()), kid: 'k' }
  const installation = '0b0e7a3c-1111-4111-8111-111111111111'
  const keys = await loadSet('purpose.json', { installation, keys: [jwk] })
  const key = await importJWK(jwk, 'Ed25519')
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: installation,
    aud: installation,
    sub: 's',
    jti: 'j',
    iat: now,
    exp: now + 60,
    scope: '',
  }
  const sign = (changes: object, header = {}) =>
    new SignJWT({ ...claims, ...changes })
      .setProtectedHeader({ alg: 'Ed25519', typ: 'at+jwt', kid: 'k', ...header })
      .sign(key)
  await keys.verify(await sign({}))
  const changes = [
    { iss: 'x' },
    { aud: 'x' },
    { exp: undefined },
    { jti: undefined },
    { iat: undefined },
    { sub: undefined },
    { nbf: now + 60 },
  ]
  for (const change of changes) {
    await assert.rejects(
      keys.verify(await sign(change)),
      { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED' },
      JSON.stringify(change),
    )
  }
  await assert.rejects(keys.verify(await sign({}, { typ: 'JWT' })), {
    code: 'ERR_JWT_CLAIM_VALIDATION_FAILED',
  })
  await assert.rejects(keys.verify(await sign({}, { alg: 'EdDSA' })), { code: 'ERR_JOSE_ALG_NOT_ALLOWED' })
})

test('fingerprints are the same on every replica, and others in another installation', async () => {
  const path = join(folder, 'fingerprints.json')
  const [one, again] = [await loadOrCreateKeys(path), await loadOrCreateKeys(path)]
  const other = await loadOrCreateKeys(join(folder, 'other-fingerprints.json'))
  const [fingerprint, ...more] = one.fingerprints('a request')
  assert.deepEqual([fingerprint?.length, more], [32, []])
  assert.deepEqual(again.fingerprints('a request'), [fingerprint])
  assert.notDeepEqual(one.fingerprints('another'), [fingerprint])
  assert.notDeepEqual(other.fingerprints('a request'), [fingerprint])
})

test('a fingerprint made before a rotation of the keys is known after it', async () => {
  const [old, next] = [await generateJwk(), await generateJwk()]
  const { d: _, ...retired } = await generateJwk()
  const [before] = (await loadSet('before.json', { keys: [old] })).fingerprints('a request')
  const after = (await loadSet('after.json', { keys: [next, old, retired] })).fingerprints('a request')
  assert.equal(after.length, 2)
  assert.notDeepEqual(after[0], before, 'the new one is made with the key that signs')
  assert.deepEqual(after[1], before)
})
