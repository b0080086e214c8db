import ipaddr from 'ipaddr.js'
import { problemAt } from '../problems.ts'

const least = { ipv4: 8, ipv6: 32 }

/** Addresses and networks in the form in which Postgres gives them back. */
export function parseRelayNetworks(texts: readonly string[]): string[] {
  return [...new Set(texts.map((text, i) => parseRelayNetwork(text, `/relay_networks/${i}`)))]
}

function parseRelayNetwork(text: string, pointer: string): string {
  const network = readNetwork(text)
  if (!network)
    throw problemAt(
      'invalid-network',
      pointer,
      'This is neither an IP address nor a network like 10.0.0.0/8.',
    )
  const [address, prefix] = network
  if (prefix < least[address.kind()]) {
    throw problemAt(
      'invalid-network',
      pointer,
      'A network is at most a /8 (IPv4) or a /32 (IPv6) wide: whoever is in it sends mail to anybody.',
    )
  }
  const first = networkAddress(address, prefix)
  if (first === address.toString()) return `${first}/${prefix}`
  throw problemAt('invalid-network', pointer, `The network of this address is ${first}/${prefix}.`)
}

function networkAddress(address: ipaddr.IPv4 | ipaddr.IPv6, prefix: number): string {
  const { IPv4, IPv6 } = ipaddr
  const kind = address.kind() === 'ipv4' ? IPv4 : IPv6
  return kind.networkAddressFromCIDR(`${address}/${prefix}`).toString()
}

function readNetwork(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return [ipaddr.IPv4.parse(text), 32]
  if (ipaddr.IPv4.isValidCIDRFourPartDecimal(text)) return ipaddr.IPv4.parseCIDR(text)
  if (text.includes('%') || text.includes('.')) return undefined // zones, and IPv4 inside IPv6
  if (ipaddr.IPv6.isValid(text)) return [ipaddr.IPv6.parse(text), 128]
  return ipaddr.IPv6.isValidCIDR(text) ? ipaddr.IPv6.parseCIDR(text) : undefined
}
