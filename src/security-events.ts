import type { FastifyRequest } from 'fastify'

/** What whoever watches the log should look for: `event` of the line. docs/operations.md lists them. */
export const securityEvents = {
  unauthenticated: 'A request without a token, or with one that is not accepted (401).',
  forbidden: 'A token was not enough for what it was used for (403).',
  'not-found': 'A caller limited to some domains asked for what it cannot see (404).',
  'conflict-burst': 'A caller had 60 requests answered with 409 within a minute.',
  'names-probed': 'A caller limited to some domains has used up its budget of taken names.',
  'rate-limited': 'A caller has used up a budget and is refused (429).',
  'fuse-blown':
    'A token wanted more than its `limits` allow in a day, and is refused until it is reset (429).',
  'wrong-address': 'A token was used from an address that it is not allowed from.',
  'password-check-failed': 'A password was checked and was not the right one.',
  'password-check-throttled': 'A password was not checked: too many checks of the account have failed.',
} as const satisfies Record<string, string>

export type SecurityEvent = keyof typeof securityEvents

/** Never with a name, an address of a person, or a token in `members`. */
export function logSecurityEvent(
  request: FastifyRequest,
  event: SecurityEvent,
  message: string,
  members: Record<string, unknown> = {},
): void {
  const { subject, server, log, ip } = request
  server.metrics?.securityEvents.inc({ event })
  const who = subject && { subject: subject.id, token_id: subject.tokenId }
  log.info({ event, ...who, ...members, address: ip }, message)
}
