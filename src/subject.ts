import type { JWTPayload } from 'jose'
import { type DomainName, parseDomainName } from './domains/name.ts'
import { ProblemError, problem } from './problems.ts'
import { parseScopes, type Scope } from './scopes.ts'
import type { StoredToken } from './tokens/store.ts'

/** Who calls, and what the token lets it do. */
export interface Subject {
  /** Unique only together with `issuer`. */
  id: string
  tokenId: string | undefined
  issuer: string
  scopes: ReadonlySet<Scope>
  domains: '*' | readonly DomainName[]
  /** Passwords may only be made here and shown encrypted to somebody's key. */
  passwordDelivery?: 'sealed'
  /** The row of a token that POST /v1/tokens made. */
  token?: StoredToken
}

/**
 * Reads the claims of a token whose signature, issuer, audience and times are already verified.
 * `domainsClaim` is the name of the claim that lists the caller's domains.
 */
export function parseSubject(claims: JWTPayload, domainsClaim: string): Subject {
  return {
    id: parseId(claims),
    tokenId: typeof claims.jti === 'string' ? claims.jti : undefined,
    issuer: claims.iss ?? '',
    scopes: parseScopes(parseScopeWords(claims)),
    domains: parseDomains(claims[domainsClaim]),
    ...(isSealedOnly(claims) && { passwordDelivery: 'sealed' as const }),
  }
}

/** Of a token whose claims say who it is, and whose row says what it may do. */
export function toSubject(claims: JWTPayload, token: StoredToken): Subject {
  const [first] = token.domains
  return {
    id: parseId(claims),
    tokenId: token.id,
    issuer: claims.iss ?? '',
    scopes: parseScopes(token.scopes),
    domains: first === '*' ? '*' : (token.domains as DomainName[]),
    ...(token.password_delivery === 'sealed' && { passwordDelivery: 'sealed' as const }),
    token,
  }
}

// OpenID Connect Core 1.0 §2; what a subject does is kept under this text.
const subjectGrammar = /^[ -~]{1,255}$/

// RFC 9068 §2.2 demands `sub`; application tokens of some issuers name the application only:
// `appid` in Entra v1, `azp` in Entra v2 and Keycloak, `client_id` in RFC 9068.
function parseId(claims: JWTPayload): string {
  const id = [claims.sub, claims.azp, claims.appid, claims.client_id].find(
    (claim) => typeof claim === 'string' && claim !== '',
  )
  if (typeof id === 'string' && subjectGrammar.test(id)) return id
  if (typeof id === 'string') {
    throw problem('unauthenticated', {
      detail: 'The token names its subject by more than 255 ASCII characters.',
    })
  }
  throw problem('unauthenticated', { detail: 'The token names nobody: it has no sub claim.' })
}

// An ID token tells an application who logged in and is no permission to call anything; it has none of these.
function parseScopeWords({ scope, scp, roles }: JWTPayload): string[] {
  if ((scope ?? scp ?? roles ?? null) === null) {
    throw problem('unauthenticated', {
      detail: 'The token is not an access token: it has none of the claims scope, scp and roles.',
    })
  }
  return [scope, scp, roles].flatMap((claim) => elements(claim, /\s+/))
}

// It only takes away, so it counts in the tokens of every issuer; what has another meaning some day is not "anything".
function isSealedOnly({ password_delivery }: JWTPayload): boolean {
  return (password_delivery ?? 'any') !== 'any'
}

// Deny by default: no claim is no domain, and all of them only by the one word for it.
function parseDomains(claim: unknown): '*' | DomainName[] {
  const names = elements(claim, /[\s,]+/)
  if (names.includes('*')) return '*'
  return [...new Set(names.flatMap(parseDomain))]
}

// A domain that this service could never hold grants nothing; the others of the list still count.
function parseDomain(text: string): DomainName[] {
  try {
    return [parseDomainName(text)]
  } catch (error) {
    if (error instanceof ProblemError) return []
    throw error
  }
}

/** The words of a claim that issuers write as an array or as one string. */
function elements(claim: unknown, separator: RegExp): string[] {
  if (typeof claim === 'string') return claim.split(separator).filter((word) => word !== '')
  if (Array.isArray(claim)) return claim.filter((word) => typeof word === 'string')
  return []
}
