import { type AccountName, readName } from '../accounts/name.ts'
import { type DomainName, readDomainName } from '../domains/name.ts'
import { problem, problemAt } from '../problems.ts'

export interface Address {
  /** `name@domain` in its stored form. */
  address: string
  name: AccountName
  domain: DomainName
}

const maxAddressOctets = 254 // RFC 5321 §4.5.3.1.3: a path has 256 with its angle brackets

const canonicalUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i // RFC 9562 §4

interface Refusal {
  code: 'invalid-address' | 'invalid-name'
  fault: string
}

export function parseAddress(text: string, pointer = '/address'): Address {
  const outcome = read(text)
  if ('fault' in outcome) throw problemAt(outcome.code, pointer, outcome.fault)
  return outcome
}

/** Of parts that are parsed already, which can still be too long together. */
export function toAddress(name: AccountName, domain: DomainName, pointer: string): Address {
  const outcome = join(name, domain)
  if ('fault' in outcome) throw problemAt(outcome.code, pointer, outcome.fault)
  return outcome
}

/** For the path: what cannot be an address is no mailbox either. */
export function lookUpAddress(text: string): Address {
  const outcome = read(text)
  if ('fault' in outcome) throw problem('mailbox-not-found')
  return outcome
}

function read(text: string): Address | Refusal {
  const [left, right, ...more] = text.split('@')
  if (left === undefined || right === undefined || more.length > 0) {
    return { code: 'invalid-address', fault: 'An address is name@domain, with exactly one "@".' }
  }
  const local = readName(left)
  if ('fault' in local) return { code: 'invalid-name', fault: local.fault }
  const domain = readDomainName(right)
  if ('fault' in domain) {
    return { code: 'invalid-address', fault: `The domain, right of the "@", is wrong: ${domain.fault}` }
  }
  return join(local.name, domain.name)
}

function join(name: AccountName, domain: DomainName): Address | Refusal {
  const address = `${name}@${domain}`
  if (address.length <= maxAddressOctets) return { address, name, domain }
  const fault = `An address has at most ${maxAddressOctets} octets, its domain as A-labels; this one has ${address.length}.`
  return { code: 'invalid-address', fault }
}

// RFC 5321 §4.1.2 Dot-string, without the characters that mail servers give a meaning of their own
const foreignLocalPart = /^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*$/i
const maxLocalPartOctets = 64 // RFC 5321 §4.5.3.1.1

/** An address that mail is sent on to: it may be another server's, whose local parts are not our names. */
export function parseDestination(text: string, pointer: string): string {
  const [local = '', right = '', ...more] = text.split('@')
  if (more.length > 0 || local.length > maxLocalPartOctets || !foreignLocalPart.test(local)) {
    const detail = 'Left of the one "@" stand letters, digits, ".", "_", "+" and "-", at most 64 octets.'
    throw problemAt('invalid-address', pointer, detail)
  }
  const domain = readDomainName(right)
  if ('fault' in domain) {
    throw problemAt('invalid-address', pointer, `The domain, right of the "@", is wrong: ${domain.fault}`)
  }
  const address = `${local.toLowerCase()}@${domain.name}`
  if (address.length <= maxAddressOctets) return address
  throw problemAt('invalid-address', pointer, `An address has at most ${maxAddressOctets} octets.`)
}

/** Says only that the text has the form of an id, which no address has. */
export function isMailboxId(text: string): boolean {
  return canonicalUuid.test(text)
}
