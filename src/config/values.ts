import { accessSync, constants, statSync } from 'node:fs'
import { isIP, isIPv4, isIPv6 } from 'node:net'

export function splitList(list: string): string[] {
  return list.split(',').flatMap((part) => part.trim() || [])
}

export function hasControl(value: string): boolean {
  return /[\u0000-\u001f\u007f]/.test(value)
}

export function isPort(value: string): boolean {
  return /^\d{1,5}$/.test(value) && Number(value) <= 65535
}

/** How often something may happen in a minute. */
export function isBudget(value: string): boolean {
  return /^[1-9]\d{0,6}$/.test(value) && Number(value) <= 1_000_000
}

// RFC 1123 §2.1: letters, digits and hyphens; the last label is not all digits, or it would be an address.
export function isHostName(value: string): boolean {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
  return value.length <= 253 && new RegExp(`^(${label}\\.)*(?![0-9]+$)${label}$`, 'i').test(value)
}

export function isHost(value: string): boolean {
  return isIP(value) !== 0 || isHostName(value)
}

// RFC 6761 §6.3: localhost always means a loopback address.
export function isLoopback(host: string): boolean {
  return (isIPv4(host) && host.startsWith('127.')) || host === '::1' || host.toLowerCase() === 'localhost'
}

/** An address, or a network with a prefix length (RFC 4632 §3.1, RFC 4291 §2.3). */
export function isNetwork(value: string): boolean {
  const [address = '', prefix, ...rest] = value.split('/')
  if (address.includes('%') || rest.length > 0) return false
  const bits = isIPv4(address) ? 32 : isIPv6(address) ? 128 : 0
  return bits > 0 && (prefix === undefined || (/^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= bits))
}

export function isDatabaseUrl(value: string): boolean {
  // A socket in ?host= leaves the host empty, which the driver allows and the URL standard does not.
  return /^postgres(ql)?:\/\/./.test(value) && URL.canParse(value.replace('@/', '@localhost/'))
}

export function isWebUrl(value: string, mayBePlain: (host: string) => boolean = () => true): boolean {
  if (!/^https?:\/\/[^\s?#]+$/.test(value) || hasControl(value) || !URL.canParse(value)) return false
  const { protocol, hostname, username, password } = new URL(value)
  if (username || password) return false
  return protocol === 'https:' || (protocol === 'http:' && mayBePlain(hostname))
}

// OpenID Connect Discovery 1.0 §3: the issuer is an https URL without query and fragment.
export function isIssuer(value: string): boolean {
  return isWebUrl(value, (host) => isLoopback(host.replace(/^\[|\]$/g, '')))
}

export function isReadableFile(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
