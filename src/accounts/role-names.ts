import { problemAt } from '../problems.ts'
import type { AccountName } from './name.ts'

// RFC 2142 §3 to §5, and `trouble` of its §1.
const rfc2142 = [
  ...['info', 'marketing', 'sales', 'support'],
  ...['abuse', 'noc', 'security', 'trouble'],
  ...['postmaster', 'hostmaster', 'usenet', 'news', 'webmaster', 'www', 'uucp', 'ftp'],
]

// Whoever reads one of these can obtain a certificate for the domain: CA/Browser Forum Baseline
// Requirements §3.2.2.4.4. Some authorities have also mailed `root` and `ssladmin`.
const certificateAuthorities = ['admin', 'administrator', 'webmaster', 'hostmaster', 'postmaster']

const systems = ['root', 'mailer-daemon', 'noreply', 'security', 'ssladmin']

/** Written in one word or two; a reader takes one spelling for the other. */
const compounds = [
  ['post', 'master'],
  ['host', 'master'],
  ['web', 'master'],
  ['mailer', 'daemon'],
  ['no', 'reply'],
  ['ssl', 'admin'],
]

const spellings = compounds.flatMap((words) => ['', '-', '_', '.'].map((separator) => words.join(separator)))

export const roleNames: ReadonlySet<string> = new Set([
  ...rfc2142,
  ...certificateAuthorities,
  ...systems,
  ...spellings,
])

export function isRoleName(name: AccountName): boolean {
  return roleNames.has(name)
}

/** `allow` is what the request says; that the token may say so is for the caller to check. */
export function assertRoleNameAllowed(name: AccountName, allow: boolean, pointer = '/name'): void {
  if (allow || !isRoleName(name)) return
  const detail = `"${name}" is reserved for a role. Choose another name, or send allow_role_name: true with a token that has the scope names:reserved.`
  throw problemAt('role-name-refused', pointer, detail)
}
