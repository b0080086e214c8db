import { type DomainName, readDomainName } from '../domains/name.ts'

const hostPrefix = /^autoconfig[.]/i // where the file has a host of its own

interface Asked {
  /** As it was sent. */
  address: string | undefined
  /** The host name of the request, without a port. */
  host: string
}

/**
 * Of the address all that is looked at is the domain, so that whoever is left of the "@" makes no difference. Without an
 * address it is the host that says which domain is meant (draft-ietf-mailmaint-autoconfig, "Mail provider").
 */
export function askedDomain({ address, host }: Asked): DomainName | undefined {
  if (address === undefined) return read(host.replace(hostPrefix, ''))
  const at = address.lastIndexOf('@')
  return at > 0 ? read(address.slice(at + 1)) : undefined
}

function read(text: string): DomainName | undefined {
  const outcome = readDomainName(text)
  return 'name' in outcome ? outcome.name : undefined
}
