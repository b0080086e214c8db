/** What an event tells of. The name of a mailbox or alias is its local part, that of an account the whole. */
export const kinds = ['server', 'domain', 'mailbox', 'account', 'alias', 'token', 'import'] as const
export type Kind = (typeof kinds)[number]

/** Every action that is written down, as `kind.verb`. A new one is added here. */
export const actions = [
  'account.create',
  'account.delete',
  'account.set-password',
  'account.update',
  'alias.create',
  'alias.delete',
  'alias.rename',
  'alias.update',
  'domain.create',
  'domain.delete',
  'domain.move',
  'domain.purge',
  'domain.restore',
  'domain.update',
  'import.cancel',
  'import.create',
  'mailbox.create',
  'mailbox.delete',
  'mailbox.purge',
  'mailbox.rename',
  'mailbox.restore',
  'mailbox.update',
  'server.update',
  'token.blow-fuse',
  'token.create',
  'token.reset',
  'token.revoke',
] as const satisfies readonly `${Kind}.${string}`[]
export type Action = (typeof actions)[number]

/** Members whose change can turn mail, or everybody's tokens, somewhere else: such an event is an alert. */
const alerting = new Set(['mail_server', 'relay_networks', 'forward_allowed_domains', 'tokens_not_before'])

/** By the members that are something else now. */
export function levelOf(after: object | null | undefined): 'info' | 'alert' {
  return Object.keys(after ?? {}).some((member) => alerting.has(member)) ? 'alert' : 'info'
}
