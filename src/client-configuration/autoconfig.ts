import { type DomainName, unicodeName } from '../domains/name.ts'
import type { Credentials } from '../mailboxes/credentials.ts'

/** The words of the format for how a password is proved; `sasl` names a mechanism (RFC 4422). */
export type AuthenticationWord = 'password-cleartext' | 'password-encrypted' | { sasl: string }

export interface Autoconfig {
  domain: DomainName
  /** May hold the placeholders of the format. */
  username: string
  /** From the most wanted on; a program takes the first that it knows. */
  authentication: readonly AuthenticationWord[]
  servers: Credentials['servers']
}

type Server = Credentials['servers'][number]

// draft-ietf-mailmaint-autoconfig, "displayName and displayShortName": at most so many characters
const maxNameCharacters = 60
const maxShortNameCharacters = 20

/** IMAP first, which is the one that programs take: there the mail stays on the server. */
const sections = [
  { protocol: 'imap', element: 'incomingServer', type: 'imap' },
  { protocol: 'pop3', element: 'incomingServer', type: 'pop3' },
  { protocol: 'submission', element: 'outgoingServer', type: 'smtp' },
] as const

const socketTypes = { tls: 'SSL', starttls: 'STARTTLS' } as const

/** The file that Thunderbird and others set up an account with (draft-ietf-mailmaint-autoconfig). */
export function toAutoconfigXml(config: Autoconfig): string {
  const { domain, servers, authentication } = config
  const provider = [
    element('domain', domain),
    ...displayNames(domain),
    ...sections.flatMap(({ protocol, ...section }) =>
      servers
        .filter((server) => server.protocol === protocol)
        .map((server) => toSection(section, server, config)),
    ),
  ]
  // 1.1 is what every program reads; names of mechanisms came with 1.2
  const version = authentication.some((word) => typeof word === 'object') ? '1.2' : '1.1'
  return `<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="${version}">
  <emailProvider id="${escapeXml(domain)}">
${provider.join('\n').replace(/^/gm, '    ')}
  </emailProvider>
</clientConfig>
`
}

/** Left out where they would be too long: a domain that is cut off is another one. */
function displayNames(domain: DomainName): string[] {
  const name = unicodeName(domain) ?? domain
  const length = [...name].length
  return [
    ...(length <= maxNameCharacters ? [element('displayName', name)] : []),
    ...(length <= maxShortNameCharacters ? [element('displayShortName', name)] : []),
  ]
}

function toSection(
  { element: name, type }: { element: string; type: string },
  { host, port, security }: Server,
  { username, authentication }: Autoconfig,
): string {
  const members = [
    element('hostname', host),
    element('port', String(port)),
    element('socketType', socketTypes[security]),
    ...authentication.map(toAuthentication),
    element('username', username),
  ]
  return `<${name} type="${type}">\n${members.join('\n').replace(/^/gm, '  ')}\n</${name}>`
}

function toAuthentication(word: AuthenticationWord): string {
  if (typeof word === 'string') return element('authentication', word)
  return `<authentication system="sasl">${escapeXml(word.sasl)}</authentication>`
}

function element(name: string, text: string): string {
  return `<${name}>${escapeXml(text)}</${name}>`
}

function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
}
