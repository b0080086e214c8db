import type {} from '@fastify/swagger' // declares `security` on route schemas
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { decodeJwt, type JWTPayload } from 'jose'
import type { DomainName } from './domains/name.ts'
import type { Issuer } from './issuer.ts'
import type { InstallationKeys } from './keys.ts'
import { toProblem } from './problem-details.ts'
import { ProblemError, problem } from './problems.ts'
import { holds, isScope, type Scope } from './scopes.ts'
import { logSecurityEvent } from './security-events.ts'
import { parseSubject, type Subject, toSubject } from './subject.ts'
import { explainRefusal, malformed } from './token-refusals.ts'
import { requireAddress } from './tokens/address.ts'
import type { TokenCheck } from './tokens/check.ts'
import { createVerifiedTokens, type VerifiedTokens } from './verified-tokens.ts'

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
  /** What becomes of a token after it was issued. */
  check: Pick<TokenCheck, 'admitOwn' | 'admitForeign'>
}

interface Source {
  verify(token: string): Promise<JWTPayload>
  admit: TokenCheck['admitOwn']
  domainsClaim: string
  /** How long a signature stays good once it was found so: a key that the issuer withdraws is trusted no longer. */
  seconds: number
}

/** What a signature was found to vouch for. */
interface Vouched {
  claims: JWTPayload
  source: Source
  /** Whom they name, unless the row of the token says so. */
  subject?: Subject
}

interface Sources {
  /** Whose tokens are accepted, by their `iss`. */
  sources: ReadonlyMap<unknown, Source>
  verified: VerifiedTokens<Vouched>
}

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
    app.addHook('onSend', (request, reply, _payload, done) => {
      if (request.subject && reply.statusCode === 404) logNotFound(request)
      if (request.subject && reply.statusCode === 403) {
        logSecurityEvent(request, 'forbidden', 'a token was not enough')
        if (!reply.hasHeader('www-authenticate'))
          reply.header('www-authenticate', `${challenge}, error="insufficient_scope"`)
      }
      done()
    })
  },
  { name: 'auth', fastify: '5.x' },
)

export function requireScope(subject: Pick<Subject, 'scopes'>, scope: Scope): void {
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

function tokenSources({ keys, issuer, domainsClaim, check }: AuthOptions): Sources {
  const own: Source = {
    verify: keys.verify,
    admit: check.admitOwn,
    domainsClaim: 'domains',
    seconds: Number.POSITIVE_INFINITY, // its keys are read at the start
  }
  const sources = new Map([[keys.installation, own]])
  if (issuer) {
    const foreign: Source = { verify: issuer.verify, admit: check.admitForeign, domainsClaim, seconds: 60 }
    sources.set(issuer.issuer, foreign)
  }
  return { sources, verified: createVerifiedTokens() }
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
    const subject = await readToken(token, sources)
    requireAddress(request, subject)
    return subject
  } catch (error) {
    if (error instanceof ProblemError && error.code !== 'unauthenticated') throw error
    reply.header('www-authenticate', `${challenge}, error="invalid_token"`)
    logRefusal(request, error)
    throw error instanceof ProblemError
      ? error
      : problem('unauthenticated', { detail: explainRefusal(error), cause: error })
  }
}

// Nothing but the header: addresses with a token in them end up in logs, and cookies are sent by any page
// that a browser shows. RFC 6750 §2.1, §5.3.
function bearerToken(header: string | undefined): string | undefined {
  return /^Bearer +(\S.*)$/i.exec(header ?? '')?.[1]?.trim()
}

async function readToken(token: string, accepted: Sources): Promise<Subject> {
  const vouched = accepted.verified.get(token) ?? (await verify(token, accepted))
  const { claims, source } = vouched
  // What fails here fails for a good token.
  const stored = await source.admit(claims).catch((error) => {
    throw toProblem(error)
  })
  if (stored) return toSubject(claims, stored)
  vouched.subject ??= parseSubject(claims, source.domainsClaim)
  return vouched.subject
}

async function verify(token: string, { sources, verified }: Sources): Promise<Vouched> {
  if (!compactJws.test(token)) throw problem('unauthenticated', { detail: malformed })
  // Not verified yet: it only chooses the keys to verify with.
  const source = sources.get(decodeJwt(token).iss)
  if (!source)
    throw problem('unauthenticated', {
      detail: 'The token is of an issuer that this service does not trust.',
    })
  const claims = await source.verify(token)
  return verified.keep(token, { claims, source }, { exp: claims.exp, seconds: source.seconds })
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

// The token itself is never logged. Its id is known only when the signature was good.
function logRefusal(request: FastifyRequest, error: unknown): void {
  const { payload } = (error instanceof ProblemError ? (error.cause ?? {}) : error) as {
    payload?: JWTPayload
  }
  const reason = error instanceof Error ? error.message : String(error)
  logSecurityEvent(request, 'unauthenticated', 'a token was refused', { reason, token_id: payload?.jti })
}

/** Somebody may be trying out what lies in the domains of others; whether it is there is not even asked. */
function logNotFound(request: FastifyRequest): void {
  if (request.subject.domains === '*') return
  logSecurityEvent(request, 'not-found', 'a caller limited to some domains asked for what it cannot see')
}
