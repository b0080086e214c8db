import type { AccountName } from '../accounts/name.ts'
import { readDomainName } from '../domains/name.ts'
import { type Address, parseAddress } from '../mailboxes/address.ts'
import { ProblemError, problem, problemAt } from '../problems.ts'

/** In the place of a name: the alias of everything that is no address of its domain. */
const catchAll = '' as AccountName

export function isCatchAll({ name }: Pick<Address, 'name'>): boolean {
  return name === catchAll
}

/** An address, or `@domain` for the catch-all of a domain. */
export function parseAliasAddress(text: string, pointer = '/address'): Address {
  if (!text.startsWith('@')) return parseAddress(text, pointer)
  const outcome = readDomainName(text.slice(1))
  if ('name' in outcome) return { address: `@${outcome.name}`, name: catchAll, domain: outcome.name }
  throw problemAt('invalid-address', pointer, `The domain, right of the "@", is wrong: ${outcome.fault}`)
}

/** For the path: what cannot be an alias is none. */
export function lookUpAliasAddress(text: string): Address {
  try {
    return parseAliasAddress(text)
  } catch (error) {
    throw error instanceof ProblemError ? problem('alias-not-found') : error
  }
}
