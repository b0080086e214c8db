import type { Credentials, Domain, Mailbox } from '../../../clients/typescript/src/index.ts'

/** What the old tool printed after it had added a mailbox: both names, each with the mail server. */
export function loginInformation({ clear_text, secure_password, servers }: Credentials): string {
  const host = servers.find(({ protocol }) => protocol === 'pop3')?.host ?? servers[0]?.host ?? ''
  return [
    'Log on to the new mailbox as follows; mail programs need the name of the kind that they use:',
    '  If using clear text authentication',
    ...account(clear_text?.username, host),
    '  If using Secure Password Authentication',
    ...account(secure_password?.username, host),
  ].join('\n')
}

function account(name: string | undefined, host: string): string[] {
  if (name === undefined) return ['     not possible with this account']
  return [`     Account name: ${name}`, `     Mail server:  ${host}`]
}

const domainWidth = 40

export const domainHeading = row('Domain', 'Mailboxes', 'State')

export function domainLine({ name, mailbox_count, locked, state }: Domain): string {
  return row(name, String(mailbox_count), state === 'deleted' ? 'deleted' : lockState(locked))
}

export const mailboxHeading = row('Mailbox', 'Messages', 'Bytes', 'State')

export function mailboxLine({ name, usage, locked, effective_locked }: Mailbox): string {
  const state = locked || !effective_locked ? lockState(locked) : 'locked with its domain'
  return row(name, String(usage?.messages ?? 0), String(usage?.bytes ?? 0), state)
}

function lockState(locked: boolean): string {
  return locked ? 'locked' : 'unlocked'
}

/** The name, numbers flush right, and what is left. Of fixed widths, so that no page waits for the next. */
function row(name: string, ...cells: string[]): string {
  const last = cells.pop() ?? ''
  const numbers = cells.map((cell) => cell.padStart(12))
  return [name.padEnd(domainWidth), ...numbers].join(' ').concat(`  ${last}`)
}

export function count(number: number, noun: string): string {
  const plural = noun.endsWith('x') ? `${noun}es` : `${noun}s`
  return `${number} ${number === 1 ? noun : plural}`
}
