import type {} from '@fastify/swagger' // declares `security` on route schemas
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { decodeJwt, errors, type JWTPayload } from 'jose'
import type { DomainName } from './domains/name.ts'
import type { Issuer } from './issuer.ts'
import type { InstallationKeys } from './keys.ts'
import { ProblemError, problem } from './problems.ts'
import { holds, isScope, type Scope } from './scopes.ts'
import { logSecurityEvent } from './security-events.ts'
import { parseSubject, type Subject } from './subject.ts'

declare module 'fastify' {
  interface FastifyRequest {
    subject: Subject
  }
  interface FastifyContextConfig {
    /** Only for callers with all domains. */
    allDomains?: boolean
  }
}

export interface AuthOptions {
  keys: InstallationKeys
  issuer?: Issuer | undefined
  /** The claim that lists the caller's domains in tokens of `issuer`. */
  domainsClaim: string
}

/** Whose tokens are accepted, by their `iss`. */
type Sources = ReadonlyMap<unknown, { verify(token: string): Promise<JWTPayload>; domainsClaim: string }>

const compactJws = /^[\w-]+\.[\w-]+\.[\w-]*$/ // RFC 7515 §7.1; decoders of base64 let more pass

interface DeclaredRoute {
  method: HTTPMethods | HTTPMethods[]
  url?: string | undefined
  schema?: FastifySchema | undefined
}

const challenge = 'Bearer realm="mailwright"' // RFC 6750 §3

/**
 * Protects the scope it is registered in: every route there must declare in `schema.security` which scopes
 * it needs, and answers 401 and 403 before anything is looked up.
 */
export const auth = fp(
  async (app: FastifyInstance, options: AuthOptions) => {
    const sources = tokenSources(options)
    app.decorateRequest('subject')
    app.addHook('onRoute', (route) => {
      neededScopes(route)
    })
    app.addHook('onRequest', async (request, reply) => {
      if (request.is404) return
      const needed = neededScopes(request.routeOptions)
      request.subject = await authenticate(request, reply, sources)
      enforce(request, reply, needed)
    })
    // Handlers may refuse as well, with requireScope. RFC 6750 §3.1.
    app.addHook('onSend', async (request, reply) => {
      if (!request.subject) return
      if (reply.statusCode === 404) logNotFound(request)
      if (reply.statusCode !== 403) return
      logSecurityEvent(request, 'forbidden', 'a token was not enough')
      if (!reply.hasHeader('www-authenticate'))
        reply.header('www-authenticate', `${challenge}, error="insufficient_scope"`)
    })
  },
  { name: 'auth', fastify: '5.x' },
)

export function requireScope(subject: Subject, scope: Scope): void {
  if (!holds(subject.scopes, scope)) throw lacks([scope])
}

export function requireAllDomains(subject: Subject): void {
  if (subject.domains === '*') return
  throw problem('insufficient-scope', { detail: 'This is only for callers with all domains.' })
}

/** Whether the caller may see and touch what lies in `domain`; to others it does not exist. */
export function mayTouch(subject: Subject, domain: DomainName): boolean {
  return subject.domains === '*' || subject.domains.includes(domain)
}

function tokenSources({ keys, issuer, domainsClaim }: AuthOptions): Sources {
  const sources = new Map([[keys.installation, { verify: keys.verify, domainsClaim: 'domains' }]])
  if (issuer) sources.set(issuer.issuer, { verify: issuer.verify, domainsClaim })
  return sources
}

/**
 * The scopes that a route declares: alternatives, of each of which all are needed (OpenAPI's security
 * requirements). Throws for a route that declares none, because nobody said who may call it.
 */
function neededScopes({ method, url, schema }: DeclaredRoute): Scope[][] {
  const alternatives = (schema?.security ?? []).map(({ bearer = [], ...others }) => {
    const known = bearer.filter(isScope)
    return known.length === bearer.length && Object.keys(others).length === 0 ? known : []
  })
  if (alternatives.length > 0 && alternatives.every((scopes) => scopes.length > 0)) return alternatives
  throw new Error(`${method} ${url} must declare the scopes it needs: security: [{ bearer: ['…'] }]`)
}

async function authenticate(
  request: FastifyRequest,
  reply: FastifyReply,
  sources: Sources,
): Promise<Subject> {
  const token = bearerToken(request.headers.authorization)
  if (token === undefined) {
    reply.header('www-authenticate', challenge)
    logSecurityEvent(request, 'unauthenticated', 'no token was sent')
    throw problem('unauthenticated', { detail: 'Send a token in the header: Authorization: Bearer <token>.' })
  }
  try {
    return await readToken(token, sources)
  } catch (error) {
    if (error instanceof ProblemError && error.code !== 'unauthenticated') throw error
    reply.header('www-authenticate', `${challenge}, error="invalid_token"`)
    logRefusal(request, error)
    throw error instanceof ProblemError
      ? error
      : problem('unauthenticated', { detail: refusal(error), cause: error })
  }
}

// Nothing but the header: addresses with a token in them end up in logs, and cookies are sent by any page
// that a browser shows. RFC 6750 §2.1, §5.3.
function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S.*)$/i.exec(header ?? '')?.[1]?.trim()
}

async function readToken(token: string, sources: Sources): Promise<Subject> {
  if (!compactJws.test(token)) throw problem('unauthenticated', { detail: refusals.other })
  // Not verified yet: it only chooses the keys to verify with.
  const source = sources.get(decodeJwt(token).iss)
  if (source) return parseSubject(await source.verify(token), source.domainsClaim)
  throw problem('unauthenticated', { detail: 'The token is of an issuer that this service does not trust.' })
}

function enforce({ subject, routeOptions }: FastifyRequest, reply: FastifyReply, needed: Scope[][]): void {
  const allowed = needed.some((scopes) => scopes.every((scope) => holds(subject.scopes, scope)))
  if (!allowed) {
    const [scopes] = needed
    reply.header('www-authenticate', `${challenge}, error="insufficient_scope", scope="${scopes!.join(' ')}"`)
    throw lacks(scopes!)
  }
  if (routeOptions.config.allDomains) requireAllDomains(subject)
}

function lacks(scopes: readonly Scope[]): ProblemError {
  const noun = scopes.length > 1 ? 'scopes' : 'scope'
  return problem('insufficient-scope', { detail: `The token needs the ${noun} ${scopes.join(', ')}.` })
}

/** What the caller may know; everything it says was found out with a good signature or needs none. */
function refusal(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token is expired. Get a new one.'
  if (error instanceof errors.JWTClaimValidationFailed)
    return claimRefusals[error.claim] ?? claimRefusals.other
  if (error instanceof errors.JOSEError) return refusals[error.code] ?? refusals.other
  return refusals.other
}

const claimRefusals = {
  aud: 'The token is made for another audience.',
  nbf: 'The token is not valid yet.',
  typ: 'The token is not an access token: its header has another typ.',
  other: 'The token lacks a claim that it needs, or has a wrong one: see iss, sub, jti, iat and exp.',
} as { [claim: string]: string; other: string }

const untrusted = 'The token is not signed by a key that this service trusts.'
const refusals = {
  ERR_JOSE_ALG_NOT_ALLOWED: 'The token is signed with an algorithm that is not accepted.',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'The token does not say in its header (kid) which key signed it.',
  ERR_JWKS_NO_MATCHING_KEY: untrusted,
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: untrusted,
  other: 'The token is malformed.',
} as { [code: string]: string; other: string }

// The token itself is never logged. Its id is known only when the signature was good.
function logRefusal(request: FastifyRequest, error: unknown): void {
  const { payload } = error as { payload?: JWTPayload }
  const reason = error instanceof Error ? error.message : String(error)
  logSecurityEvent(request, 'unauthenticated', 'a token was refused', { reason, token_id: payload?.jti })
}

/** Somebody may be trying out what lies in the domains of others; whether it is there is not even asked. */
function logNotFound(request: FastifyRequest): void {
  if (request.subject.domains === '*') return
  logSecurityEvent(request, 'not-found', 'a caller limited to some domains asked for what it cannot see')
}
