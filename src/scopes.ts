/** Every scope a token can hold, with what it lets its caller do. */
export const scopeDescriptions = {
  'domains:read': 'Read domains.',
  'domains:write': 'Create, change, delete and restore domains; includes domains:read.',
  'mailboxes:read': 'Read mailboxes.',
  'mailboxes:write':
    'Create, change, rename, delete and restore mailboxes together with their accounts; includes mailboxes:read.',
  'mailboxes:purge':
    'Remove mailboxes for good, so that their mail is gone and their names are free at once; lift holds, and give up the old addresses of renamed mailboxes.',
  'accounts:read': 'Read accounts.',
  'accounts:write':
    'Create, change and delete accounts, and give an existing account a mailbox; includes accounts:read.',
  'passwords:write': 'Set the password of an existing account.',
  'passwords:check': 'Ask whether a password is the right one for an account.',
  'names:reserved':
    'Use names that are reserved for roles, such as postmaster or admin (RFC 2142), also as aliases and catch-alls, and decide where their mail goes.',
  'aliases:read': 'Read aliases.',
  'aliases:write': 'Create, change and delete aliases; includes aliases:read.',
  'server:read': 'Read the settings and statistics of the installation.',
  'server:write': 'Change the settings of the installation; includes server:read.',
  'mailflow:write':
    'Change where mail goes: relaying, the domains that mail may be sent on to, and the mail servers that clients are told to use.',
  'forwarding:write':
    'Send mail on to addresses outside the domains of the caller, by aliases and by forwarding.',
  'imports:write': 'Run imports; every row needs the scope of its own operation besides.',
  'tokens:write':
    'Make, list and revoke tokens of this installation, which never grant more than their maker holds.',
  'audit:read': 'Read the audit events.',
  'metrics:read': 'Read the metrics.',
} as const satisfies Record<string, string>

export type Scope = keyof typeof scopeDescriptions

export const scopes = Object.keys(scopeDescriptions) as readonly Scope[]

export function isScope(word: string): word is Scope {
  return Object.hasOwn(scopeDescriptions, word)
}

/** The scopes among `words`; identity providers put words of their own beside them, which grant nothing. */
export function parseScopes(words: Iterable<string>): Set<Scope> {
  return new Set([...words].filter(isScope))
}

/** Whether `held` allows what needs `scope`; writing includes reading. */
export function holds(held: ReadonlySet<Scope>, scope: Scope): boolean {
  if (held.has(scope)) return true
  const writing = scope.replace(/:read$/, ':write')
  return isScope(writing) && held.has(writing)
}
