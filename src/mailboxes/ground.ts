import { type RawBuilder, sql } from 'kysely'
import { assertAvailable } from '../accounts/authentication.ts'
import { assertNameFits } from '../accounts/name.ts'
import type { NewPassword } from '../accounts/new-password.ts'
import type { Mechanism } from '../accounts/verifiers.ts'
import { mayTouch } from '../auth.ts'
import type { Authentication, Db } from '../database.ts'
import { aliasDomainProblem } from '../domains/alias-domains.ts'
import type { DomainName } from '../domains/name.ts'
import { prepare } from '../prepared.ts'
import { type ProblemError, problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { Address } from './address.ts'

/** All that decides about a create: the domain, the settings, and whoever has the name. */
export interface Ground {
  domain: DomainName | null
  alias_of: DomainName | null
  mailbox_limit: number | null
  mailbox_count: number | null
  authentication: Authentication
  secure_password_mechanisms: Mechanism[]
  scram_iterations: number
  local_name_max_length: number
  password_min_length: number
  create_account_default: boolean
  /** Of the mailbox that has the name, in any domain. */
  holder_domain: DomainName | null
  holder_state: 'active' | 'deleted' | null
  purge_at: Date | null
  alias_here: boolean
  account_state: 'active' | 'deleted' | 'held' | null
  account_authentication: Authentication | null
}

/** One round trip, every part of it a probe of a primary key, but for the count of a domain with a limit. */
export async function lookUpGround(db: Db, { name, domain }: Address): Promise<Ground> {
  const rows = await findGround(db, { name, domain })
  return rows[0]!
}

const findGround = prepare<Pick<Address, 'name' | 'domain'>, Ground>('ground', ({ name, domain }) => {
  return sql`
    select ${groundColumns(sql`${name}`, sql`true`)}
    from app.settings as s ${groundJoins(sql`${name}`, domain)}`
})

/** The same for several addresses, in their order, and still one round trip; only the first of each domain has the count. */
export async function lookUpGrounds(db: Db, addresses: Address[]): Promise<Ground[]> {
  const names = addresses.map(({ name }) => name)
  const domains = addresses.map(({ domain }) => domain)
  const { rows } = await sql<Ground>`
    select ${groundColumns(sql`c.name`, sql`c.place_in_domain = 1`)}
    from app.settings as s
      cross join (
        select c.name, c.domain, c.place, row_number() over (partition by c.domain order by c.place) as place_in_domain
        from unnest(${names}::text[], ${domains}::text[]) with ordinality as c (name, domain, place)
      ) as c
      ${groundJoins(sql`c.name`, sql`c.domain`)}
    order by c.place`.execute(db)
  return rows
}

/** What else decides, whoever has the names: the domain of each address, in their order, and the settings. */
export async function lookUpDomainGrounds(db: Db, addresses: Address[]): Promise<Ground[]> {
  const domains = [...new Set(addresses.map(({ domain }) => domain))]
  const nobody = sql`null::text`
  const { rows } = await sql<Ground>`
    select ${groundColumns(nobody, sql`false`)}
    from app.settings as s cross join unnest(${domains}::text[]) with ordinality as c (domain, place)
      ${groundJoins(nobody, sql`c.domain`)}
    order by c.place`.execute(db)
  const byDomain = new Map(domains.map((domain, i) => [domain, rows[i]!]))
  return addresses.map(({ domain }) => byDomain.get(domain)!)
}

function groundColumns(name: RawBuilder<unknown>, withCount: RawBuilder<unknown>) {
  return sql`d.name as domain, d.alias_of, d.mailbox_limit,
      case when d.mailbox_limit is not null and ${withCount} then (
        select count(*) from app.mailboxes as c where c.domain = d.name and c.state = 'active'
      ) end as mailbox_count,
      coalesce(d.authentication, s.authentication) as authentication,
      coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as secure_password_mechanisms,
      s.scram_iterations, s.local_name_max_length, s.password_min_length, s.create_account_default,
      m.domain as holder_domain, m.state as holder_state, m.purge_at,
      exists (
        select from app.addresses as x where x.name = ${name} and x.domain = d.name and x.kind = 'alias'
      ) as alias_here,
      a.state as account_state, a.authentication as account_authentication`
}

/** Each found by its key: without `offset 0` all domains may be compared with each address, if they were few once. */
function groundJoins(name: RawBuilder<unknown>, domain: RawBuilder<unknown> | DomainName) {
  return sql`
      left join lateral (select d.* from app.domains as d where d.name = ${domain} and d.state = 'active' offset 0) as d on true
      left join lateral (select m.* from app.mailboxes as m where m.name = ${name} offset 0) as m on true
      left join lateral (select a.* from app.accounts as a where a.name = ${name} offset 0) as a on true`
}

export interface Wish {
  address: Address
  /** Where the request has the address. */
  pointer: string
  createAccount: boolean
  authentication: Authentication | undefined
}

/** Throws what stands against the create, in the order the API promises. */
export function assertCreatable(ground: Ground, wish: Wish, subject: Subject): void {
  const { pointer, createAccount } = wish
  if (ground.domain === null) throw unknownDomain(pointer)
  if (ground.alias_of !== null) throw aliasDomainProblem(pointer)
  if (createAccount) assertAccountCreatable(ground, wish) // before the name is judged, so that it tells nothing of it
  const collision = findCollision(ground, wish, subject)
  if (collision) throw collision
  if (!createAccount) assertLinkable(ground, wish)
  assertWithinLimit(ground.mailbox_limit, ground.mailbox_count ?? 0)
}

/** Deleted mailboxes do not count. */
export function assertWithinLimit(limit: number | null, count: number): void {
  if (limit === null || count < limit) return
  throw problem('mailbox-limit-reached', {
    detail: `The domain may have ${limit} mailboxes and has ${count}.`,
  })
}

export function unknownDomain(pointer: string): ProblemError {
  return problemAt('unknown-domain', pointer, 'There is no such domain here, or it is not one of yours.')
}

/** The kind of authentication that a new account gets. */
export function authenticationFor(ground: Ground, { authentication }: Wish): Authentication {
  return authentication ?? ground.authentication
}

export function assertAccountCreatable(ground: Ground, wish: Wish): void {
  const authentication = authenticationFor(ground, wish)
  assertAvailable(authentication)
  if (authentication === 'local')
    assertNameFits(wish.address.name, ground.local_name_max_length, wish.pointer)
}

/** What has no place but its mailbox is no use without a password, and never exists so. */
export function assertMayLackPassword(
  authentication: Authentication,
  password: NewPassword | 'none' | undefined,
): void {
  if (password !== 'none' || authentication === 'local') return
  throw problemAt('password-required', '/no_password', `A ${authentication} account always has a password.`)
}

function assertLinkable(
  { account_state, account_authentication }: Ground,
  { pointer, authentication }: Wish,
): void {
  if (account_state === null) {
    throw problemAt('unknown-account', pointer, 'There is no account of this name to give a mailbox to.')
  }
  if (authentication !== undefined && authentication !== account_authentication) {
    throw problem('authentication-differs', {
      detail: `The account is of the kind ${account_authentication}.`,
    })
  }
}

/**
 * Precedence: the same address; a deleted mailbox of the name that the caller may read; the name taken; the
 * account. What lies outside the caller's domains is a bare `name-taken`.
 */
export function findCollision(
  ground: Ground,
  { address, createAccount }: Wish,
  subject: Subject,
): ProblemError | undefined {
  const { holder_domain, holder_state, purge_at, alias_here, account_state } = ground
  if (alias_here && holder_domain !== address.domain) {
    return problem('alias-exists', { conflict: { kind: 'alias', address: address.address } })
  }
  if (holder_domain !== null && mayTouch(subject, holder_domain)) {
    const conflict = { kind: 'mailbox' as const, address: `${address.name}@${holder_domain}` }
    if (holder_state === 'deleted') return problem('mailbox-deleted', { conflict: { ...conflict, purge_at } })
    return problem(holder_domain === address.domain ? 'mailbox-exists' : 'name-taken', { conflict })
  }
  if (holder_domain !== null || (account_state !== null && account_state !== 'active'))
    return problem('name-taken')
  if (account_state === null || !createAccount) return undefined
  if (subject.domains !== '*') return problem('name-taken')
  return problem('account-exists', { conflict: { kind: 'account', address: address.name } })
}
