import { networkText, parseNetwork } from '../network.ts'
import { problemAt } from '../problems.ts'

const least = { ipv4: 8, ipv6: 32 }

/** Addresses and networks in the form in which Postgres gives them back. */
export function parseRelayNetworks(texts: readonly string[]): string[] {
  return [...new Set(texts.map((text, i) => parseRelayNetwork(text, `/relay_networks/${i}`)))]
}

function parseRelayNetwork(text: string, pointer: string): string {
  const network = parseNetwork(text, pointer)
  if (network.prefix >= least[network.address.kind()]) return networkText(network)
  throw problemAt(
    'invalid-network',
    pointer,
    'A network is at most a /8 (IPv4) or a /32 (IPv6) wide: whoever is in it sends mail to anybody.',
  )
}
