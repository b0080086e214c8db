import ipaddr from 'ipaddr.js'
import { problemAt } from './problems.ts'

export interface Network {
  address: ipaddr.IPv4 | ipaddr.IPv6
  prefix: number
}

/** An address is a network of its own. Zones, IPv4 inside IPv6 and bits right of the prefix are refused. */
export function parseNetwork(text: string, pointer: string): Network {
  const network = readNetwork(text)
  if (!network) {
    const detail = 'This is neither an IP address nor a network like 10.0.0.0/8.'
    throw problemAt('invalid-network', pointer, detail)
  }
  const first = firstAddress(network)
  if (first === network.address.toString()) return network
  throw problemAt('invalid-network', pointer, `The network of this address is ${first}/${network.prefix}.`)
}

/** The form in which Postgres gives it back. */
export function networkText({ address, prefix }: Network): string {
  return `${address}/${prefix}`
}

/** Of a text that Postgres gave back. */
export function toNetwork(text: string): Network {
  const [address, prefix] = ipaddr.parseCIDR(text)
  return { address, prefix }
}

export function isWithin(inner: Network, outer: Network): boolean {
  const sameKind = inner.address.kind() === outer.address.kind()
  return sameKind && inner.prefix >= outer.prefix && inner.address.match(outer.address, outer.prefix)
}

/** Of a connection: an IPv4 one to a socket of both kinds has an IPv6 address (RFC 4291 §2.5.5.2). */
export function readAddress(text: string): Network | undefined {
  const bare = text.replace(/%.*$/, '') // a link-local one names its interface
  if (!ipaddr.isValid(bare)) return undefined
  const address = ipaddr.process(bare)
  return { address, prefix: address.kind() === 'ipv4' ? 32 : 128 }
}

function firstAddress({ address, prefix }: Network): string {
  const kind = address.kind() === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
  return kind.networkAddressFromCIDR(`${address}/${prefix}`).toString()
}

function readNetwork(text: string): Network | undefined {
  const [address, prefix] = readParts(text) ?? []
  return address && prefix !== undefined ? { address, prefix } : undefined
}

function readParts(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return [ipaddr.IPv4.parse(text), 32]
  if (ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) return ipaddr.IPv4.parseCIDR(text)
  if (text.includes('%') || text.includes('.')) return undefined // zones, and IPv4 inside IPv6
  if (ipaddr.IPv6.isValid(text)) return [ipaddr.IPv6.parse(text), 128]
  return ipaddr.IPv6.isValidCIDR(text) ? ipaddr.IPv6.parseCIDR(text) : undefined
}
