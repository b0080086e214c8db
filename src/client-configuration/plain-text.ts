import { unicodeName } from '../domains/name.ts'
import type { Credentials } from '../mailboxes/credentials.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import type { LoginForm, Logins } from './logins.ts'

type Server = Credentials['servers'][number]

const headings: Record<LoginForm, string> = {
  clear_text: 'If using clear text authentication ("normal password")',
  secure_password: 'If using secure password authentication ("encrypted password", challenge and response)',
}

const protocols: Record<Server['protocol'], string> = {
  pop3: 'Incoming mail, POP3',
  imap: 'Incoming mail, IMAP',
  submission: 'Outgoing mail, SMTP',
}

const securities: Record<Server['security'], string> = { tls: 'SSL/TLS', starttls: 'STARTTLS' }

type Described = Pick<MailboxRow, 'address' | 'name' | 'domain' | 'display_name'>

/** For a person to type in, laid out like the confirmation dialog of the Windows POP3 service. */
export function toPlainText(mailbox: Described, logins: Logins, servers: Credentials['servers']): string {
  const blocks = [
    lines({ Mailbox: shownAddress(mailbox), 'Your name': mailbox.display_name }),
    ...Object.entries(logins).map(([form, { username, mechanisms }]) => {
      const entries = {
        'Account name': username,
        Authentication: mechanisms.join(', '),
        'Mail server': servers[0]?.host,
      }
      return `<${headings[form as LoginForm]}>\n${indent(lines(entries))}`
    }),
    `<Servers>\n${indent(lines(Object.fromEntries(servers.map(describeServer))))}`,
    'Account name and password are the same for incoming and for outgoing mail.',
  ]
  return `${blocks.join('\n\n')}\n`
}

/** As A-labels, which is what programs and servers take, and as it is read. */
function shownAddress({ address, name, domain }: Described): string {
  const readable = unicodeName(domain)
  return readable === null || readable === domain ? address : `${address} (${name}@${readable})`
}

function describeServer({ protocol, host, port, security }: Server): [string, string] {
  return [protocols[protocol], `${host}, port ${port}, ${securities[security]}`]
}

/** One entry a line, in columns; what there is nothing to say of is left out. */
function lines(entries: Record<string, string | null | undefined>): string {
  const width = Math.max(...Object.keys(entries).map((label) => label.length)) + 2
  return Object.entries(entries)
    .flatMap(([label, value]) => (value ? [`${`${label}:`.padEnd(width)}${value}`] : []))
    .join('\n')
}

function indent(text: string): string {
  return text.replace(/^/gm, '   ')
}
