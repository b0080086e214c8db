import { createHash, createHmac, hkdfSync, randomUUID } from 'node:crypto'
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  importJWK,
  type JWK,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from 'jose'
import type { DomainName } from './domains/name.ts'
import { algorithm, damaged, type Ed25519Key, type KeyFile, readOrCreateKeyFile } from './key-file.ts'
import type { Scope } from './scopes.ts'

/** What a token of this installation says. */
export interface Grant {
  subject: string
  scopes: Iterable<Scope>
  domains: '*' | readonly DomainName[]
  expiresInSeconds: number
  /** Sets passwords only sealed; any way if left out. */
  passwordDelivery?: 'sealed'
  /** Becomes the `jti`; a random one if left out. */
  tokenId?: string
}

/** A token whose rights are in its row (src/tokens), so that it can be revoked. */
export interface StoredGrant {
  id: string
  createdAt: Date
  expiresAt: Date
}

export interface InstallationKeys {
  /** The id of this installation: issuer and audience of its tokens. */
  readonly installation: string
  sign(grant: Grant): Promise<string>
  signStored(grant: StoredGrant): Promise<string>
  /** The claims of a token of this installation; throws jose's errors. */
  verify(token: string): Promise<JWTPayload>
  /**
   * HMACs of a text that may hold a password: a plain hash of it could be guessed. One by each private key of the file,
   * the signing one first, so that what was made before a rotation is known after it.
   */
  fingerprints(text: string): Buffer[]
  /** 256 bits each, to keep secrets of clients with until they are used; one by each private key, the signing one first. */
  readonly sealingKeys: readonly Uint8Array[]
}

const tokenType = 'at+jwt' // RFC 9068 §2.1
const clockToleranceSeconds = 5 // replicas' clocks differ a little

/** Reads the key file, or makes it, readable by nobody else. The first key signs, all of them verify. */
export async function loadOrCreateKeys(path: string): Promise<InstallationKeys> {
  const file = await readOrCreateKeyFile(path)
  try {
    const keys = await openKeys(file)
    // A key whose halves do not belong together would sign tokens that nobody accepts.
    await keys.verify(
      await keys.sign({ subject: 'self-test', scopes: [], domains: [], expiresInSeconds: 60 }),
    )
    return keys
  } catch {
    throw damaged(path, 'its first key does not work')
  }
}

async function openKeys(file: KeyFile): Promise<InstallationKeys> {
  const keys = await Promise.all(file.keys.map(withKid))
  const { d, ...first } = keys[0]!
  const installation = file.installation ?? (await deriveId(file.keys))
  const header = { alg: algorithm, typ: tokenType, kid: first.kid }
  const signer = await importJWK({ ...publicPart(first), d: d! }, algorithm)
  const verifiers = createLocalJWKSet({ keys: keys.map(publicPart) })
  const privateParts = keys.flatMap(({ d }) => (d === undefined ? [] : [d]))
  const fingerprintKeys = privateParts.map((d) => deriveKey(d, 'fingerprints of requests'))
  const rules = {
    issuer: installation,
    audience: installation,
    algorithms: [algorithm],
    typ: tokenType,
    requiredClaims: ['sub', 'jti', 'iat', 'exp'],
    clockTolerance: clockToleranceSeconds,
  }
  return {
    installation,
    sign: (grant) => claimsOf(grant, installation).setProtectedHeader(header).sign(signer),
    signStored: (grant) => storedClaimsOf(grant, installation).setProtectedHeader(header).sign(signer),
    verify: async (token) => (await jwtVerify(token, verifiers, rules)).payload,
    sealingKeys: privateParts.map((d) => deriveKey(d, 'secrets in imports')),
    fingerprints: (text) => fingerprintKeys.map((key) => createHmac('sha256', key).update(text).digest()),
  }
}

// RFC 5869; a key that signs is never used for anything else.
function deriveKey(privatePart: string, purpose: string): Uint8Array {
  const secret = Buffer.from(privatePart, 'base64url')
  return new Uint8Array(hkdfSync('sha256', secret, '', `mailwright: ${purpose}`, 32))
}

// RFC 9068 §2.2: without a resource owner `sub` is the client, so `client_id` repeats it.
function claimsOf(grant: Grant, installation: string): SignJWT {
  const now = Math.floor(Date.now() / 1000)
  return new SignJWT({
    client_id: grant.subject,
    scope: [...grant.scopes].join(' '),
    domains: grant.domains === '*' ? ['*'] : grant.domains,
    ...(grant.passwordDelivery && { password_delivery: grant.passwordDelivery }),
  })
    .setIssuer(installation)
    .setAudience(installation)
    .setSubject(grant.subject)
    .setJti(grant.tokenId ?? randomUUID())
    .setIssuedAt(now)
    .setExpirationTime(now + grant.expiresInSeconds)
}

/** Whom a token that POST /v1/tokens made names. */
export function subjectOfToken(id: string): string {
  return `token:${id}`
}

/**
 * `revocable` tells it from a token that stands for itself. Its subject is its own, so that two tokens of one maker
 * share no idempotency keys. The rights of a thousand domains would not fit into a header.
 */
function storedClaimsOf({ id, createdAt, expiresAt }: StoredGrant, installation: string): SignJWT {
  const subject = subjectOfToken(id)
  return new SignJWT({ client_id: subject, revocable: true })
    .setIssuer(installation)
    .setAudience(installation)
    .setSubject(subject)
    .setJti(id)
    .setIssuedAt(createdAt)
    .setExpirationTime(expiresAt)
}

// RFC 7638
async function withKid(key: Ed25519Key): Promise<Ed25519Key & { kid: string }> {
  return { ...key, kid: key.kid ?? (await calculateJwkThumbprint(key)) }
}

function publicPart({
  crv,
  x,
  kid,
}: Pick<Ed25519Key, 'crv' | 'x' | 'kid'>): JWK & { crv: string; x: string } {
  return { kty: 'OKP', crv, x, kid: kid! }
}

/**
 * The id of an installation whose key file came from elsewhere and names none: made from the last key,
 * so that it stays when a new key is put first. RFC 9562 §5.8.
 */
async function deriveId(keys: Ed25519Key[]): Promise<string> {
  const digest = createHash('sha256')
    .update(await calculateJwkThumbprint(keys.at(-1)!))
    .digest()
  digest[6] = (digest[6]! & 0x0f) | 0x80
  digest[8] = (digest[8]! & 0x3f) | 0x80
  return digest.toString('hex', 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
