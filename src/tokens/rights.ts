import { requireScope } from '../auth.ts'
import { type DomainName, parseDomainName } from '../domains/name.ts'
import { parseMoment } from '../moments.ts'
import { isWithin, type Network, networkText, parseNetwork, toNetwork } from '../network.ts'
import { type ProblemError, problem, problemAt } from '../problems.ts'
import type { Scope } from '../scopes.ts'
import type { Subject } from '../subject.ts'
import { type Limits, parseLimits } from './limits.ts'
import type { TokenCreate } from './schemas.ts'

/** What one caller gives to another, which is never more than it holds itself. */
export interface Rights extends Limits {
  scopes: Scope[]
  domains: ['*'] | DomainName[]
  allowed_ips: string[] | null
  password_delivery: 'any' | 'sealed'
}

export type Maker = Pick<Subject, 'scopes' | 'domains' | 'passwordDelivery' | 'token'>

const maxAncestors = 9 // tokens_generation_check
const secondMs = 1000
const dayMs = 24 * 3600 * secondMs
const usualDays = 90
const maxDays = 366

/** The maker's rights are judged at this moment: those it gets later, or loses, are not the token's. */
export function parseRights(maker: Maker, wish: TokenCreate): Rights {
  for (const scope of wish.scopes) requireScope(maker, scope)
  if ((maker.token?.ancestors.length ?? 0) >= maxAncestors) throw tooDeep()
  return {
    scopes: wish.scopes,
    domains: parseDomains(maker, wish.domains),
    allowed_ips: parseAllowedIps(maker, wish.allowed_ips),
    password_delivery: parsePasswordDelivery(maker, wish.password_delivery),
    ...parseLimits(maker.token, wish.limits),
  }
}

function parseDomains(maker: Maker, wish: readonly string[] | undefined): Rights['domains'] {
  if (wish?.includes('*') ?? maker.domains === '*') {
    if (maker.domains !== '*') throw unknownDomain(wish?.indexOf('*'))
    return ['*']
  }
  const domains = wish ? wish.map((text, i) => parseOwn(maker, text, i)) : (maker.domains as DomainName[])
  if (domains.length === 0) throw unknownDomain()
  return domains
}

function parseOwn({ domains }: Maker, text: string, i: number): DomainName {
  const name = parseDomainName(text, `/domains/${i}`)
  if (domains === '*' || domains.includes(name)) return name
  throw unknownDomain(i)
}

/** Whether a token of these domains is one that the caller may see. */
export function isWithinDomains({ domains }: Pick<Maker, 'domains'>, wanted: readonly string[]): boolean {
  return domains === '*' || wanted.every((name) => domains.includes(name as DomainName))
}

export function unknownDomain(i?: number): ProblemError {
  if (i !== undefined) return problemAt('unknown-domain', `/domains/${i}`, 'There is no such domain.')
  return problemAt('unknown-domain', '/domains', 'Your token has no domains that it could give.')
}

function parseAllowedIps({ token }: Maker, wish: readonly string[] | undefined): string[] | null {
  const own = token?.allowed_ips ?? null
  if (!wish) return own
  const outer = own?.map(toNetwork)
  const networks = wish.map((text, i) => parseOwnNetwork(outer, text, `/allowed_ips/${i}`))
  return [...new Set(networks.map(networkText))]
}

function parseOwnNetwork(outer: Network[] | undefined, text: string, pointer: string): Network {
  const network = parseNetwork(text, pointer)
  if (!outer || outer.some((one) => isWithin(network, one))) return network
  throw problemAt('invalid-network', pointer, 'It is not within the addresses that your token is for.')
}

type Delivery = Rights['password_delivery']

function parsePasswordDelivery({ passwordDelivery }: Maker, wish: Delivery | undefined): Delivery {
  const own: Delivery = passwordDelivery ?? 'any'
  if (own === 'any' || wish !== 'any') return wish ?? own
  throw problem('insufficient-scope', {
    detail: 'Your token sets passwords only sealed (`password_delivery`).',
  })
}

/**
 * In whole seconds, as JWTs have it (RFC 7519 §2). A token that was made with such a token ends with it, so it is
 * capped rather than refused.
 */
export function parseExpiry({ token }: Maker, wish: string | undefined, now: Date): Date {
  const wanted = wish === undefined ? now.getTime() + usualDays * dayMs : parseWish(wish, now)
  const capped = Math.min(wanted, token?.expires_at.getTime() ?? Number.POSITIVE_INFINITY)
  const seconds = Math.floor(capped / secondMs)
  if (seconds > Math.floor(now.getTime() / secondMs)) return new Date(seconds * secondMs)
  throw problemAt('invalid-request', '/expires_at', 'must be in the future')
}

function parseWish(text: string, now: Date): number {
  const moment = parseMoment(text, '/expires_at').getTime()
  if (moment - now.getTime() <= maxDays * dayMs) return moment
  throw problemAt('invalid-request', '/expires_at', `must be at most ${maxDays} days away`)
}

function tooDeep(): ProblemError {
  const detail = `The token is the ${maxAncestors + 1}th of a chain of tokens that made each other; it cannot make another.`
  return problem('insufficient-scope', { detail })
}
