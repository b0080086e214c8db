import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { type ProblemError, problem } from './problems.ts'

/** An identity provider whose tokens are accepted. */
export interface Issuer {
  readonly issuer: string
  /** The claims of one of its tokens; throws jose's errors, and 503 `unavailable` when its keys cannot be had. */
  verify(token: string): Promise<JWTPayload>
}

interface Metadata {
  issuer?: unknown
  jwks_uri?: unknown
}

type KeySet = ReturnType<typeof createRemoteJWKSet>

// Never a shared secret: with one, whoever can check a token can make one. RFC 8725 §3.1.
const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
]
// RFC 9068 §4 names at+jwt; Entra and Keycloak write JWT, others nothing. Logout tokens and the like have types of their own.
const accessTokenType = /^(application\/)?(at\+)?jwt$/i
const clockToleranceSeconds = 5
const fetchTimeoutMs = 5_000
const documentMaxBytes = 1024 * 1024
const retryMs = 5_000 // while there are no keys, each caller waits for them
const unknownKeyMs = 30_000 // anybody can invent a key id, so it must not cost a fetch each time
const keysMaxAgeMs = 600_000 // a key that the issuer withdrew is refused after this time, and the minute of src/auth.ts

/** Contacts the issuer at the first token, not before, so that the service starts while it is away. */
export function createIssuer({ issuer, audience }: { issuer: string; audience: string | string[] }): Issuer {
  const keySet = lazily(() => discover(issuer))
  const rules = {
    issuer,
    audience,
    algorithms,
    requiredClaims: ['exp'],
    clockTolerance: clockToleranceSeconds,
  }
  assertTrustworthy(new URL(issuer), new URL(issuer))
  return {
    issuer,
    async verify(token) {
      // The key is asked for when the algorithm is already accepted, and from the issuer's set alone: the
      // header members jku, jwk and x5u are not looked at.
      const getKey: JWTVerifyGetKey = async (header, input) => (await keySet())(header, input)
      const { payload, protectedHeader } = await jwtVerify(token, getKey, rules)
      if (!accessTokenType.test(protectedHeader.typ ?? 'JWT')) {
        throw new errors.JWTClaimValidationFailed('unexpected "typ" in the header', payload, 'typ')
      }
      return payload
    },
  }
}

/** OpenID Connect Discovery 1.0 §4. */
async function discover(issuer: string): Promise<KeySet> {
  const url = new URL(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const document = (await fetchJson(url, AbortSignal.timeout(fetchTimeoutMs))) as Metadata | null
  // §4.3: exactly equal, lest another issuer's keys be taken for this one's.
  if (document?.issuer !== issuer) throw new Error(`${url} is about another issuer than ${issuer}`)
  const keysUrl = URL.parse(String(document.jwks_uri))
  if (!keysUrl) throw new Error(`${url} has no usable jwks_uri`)
  assertTrustworthy(keysUrl, new URL(issuer))
  return createKeySet(keysUrl)
}

function createKeySet(url: URL): KeySet {
  const fetchKeys = throttled(
    (signal: AbortSignal) => fetchKeySet(url, signal),
    () => (keySet.fresh ? unknownKeyMs : retryMs),
  )
  const keySet: KeySet = createRemoteJWKSet(url, {
    cooldownDuration: unknownKeyMs,
    cacheMaxAge: keysMaxAgeMs,
    timeoutDuration: fetchTimeoutMs,
    [customFetch]: async (_url, { signal }) => Response.json(await fetchKeys(signal)),
  })
  return keySet
}

async function fetchKeySet(url: URL, signal: AbortSignal): Promise<unknown> {
  const document = await fetchJson(url, signal)
  createLocalJWKSet(document as JSONWebKeySet) // throws for anything else
  return document
}

/** Plain HTTP only where nobody is in between, and no step from the network to this machine's own ports. */
function assertTrustworthy(url: URL, issuer: URL): void {
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/
  if (url.protocol === 'https:') return
  if (url.protocol === 'http:' && loopback.test(url.hostname) && issuer.protocol === 'http:') return
  throw new Error(`${url} must be an https address`)
}

async function fetchJson(url: URL, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { redirect: 'manual', signal, headers: { accept: 'application/json' } })
  if (response.status === 200 && response.body) return JSON.parse(await readText(response.body))
  await response.body?.cancel()
  throw new Error(`${url} answered with status ${response.status}`)
}

async function readText(body: ReadableStream<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.byteLength
    if (size > documentMaxBytes) throw new Error(`the answer has more than ${documentMaxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

// Not 401: the token may be a good one, and a client that is told otherwise gives up or asks for another.
function unavailable(cause: unknown): ProblemError {
  const detail =
    'The identity provider cannot be asked for its keys, so the token could not be checked. Try again later.'
  return problem('unavailable', { detail, retryAfterSeconds: retryMs / 1000, cause })
}

/** Runs `make` when its result is first needed, once however many need it, and again only after a failure. */
function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  const attempt = throttled(make, () => retryMs)
  let made: Promise<T> | undefined
  return () => {
    made ??= attempt().catch((error) => {
      made = undefined
      throw error
    })
    return made
  }
}

/** Answers 503 `unavailable` for any failure, and without another try until `waitMs` have passed. */
function throttled<A extends unknown[], T>(action: (...args: A) => Promise<T>, waitMs: () => number) {
  let failure: { error: ProblemError; at: number } | undefined
  return async (...args: A): Promise<T> => {
    // The distance, because a clock that is set back must not stop the tries.
    if (failure && Math.abs(Date.now() - failure.at) < waitMs()) throw failure.error
    try {
      return await action(...args)
    } catch (cause) {
      failure = { error: unavailable(cause), at: Date.now() }
      throw failure.error
    }
  }
}
