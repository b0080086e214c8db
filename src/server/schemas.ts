import Type, { type Static } from 'typebox'
import type { DomainName } from '../domains/name.ts'
import { SecurePasswordMechanisms } from '../domains/schemas.ts'
import { Authentication, bytes, nullable, optional, strict, Timestamp } from '../schemas.ts'

const port = (what: string, usual: number) =>
  Type.Integer({
    minimum: 1,
    maximum: 65535,
    default: usual,
    description: `Port that clients are told for ${what}.`,
  })

const settings = {
  mail_server: Type.String({
    maxLength: 1024,
    description: 'Host name that clients are told. Needs `mailflow:write`.',
  }),
  pop3s_port: port('POP3 inside TLS', 995),
  imaps_port: port('IMAP inside TLS', 993),
  submission_port: port('submission with STARTTLS', 587),
  relay_networks: Type.Array(Type.String({ maxLength: 64 }), {
    maxItems: 100,
    description:
      'Addresses and networks whose clients may send mail to anybody without a login; nobody else may. At most a /8 (IPv4) or a /32 (IPv6) wide. Needs `mailflow:write`.',
  }),
  postmaster_address: nullable(
    Type.String({
      maxLength: 1024,
      description:
        'Gets postmaster@ and abuse@ of every domain that has neither such an address nor a `postmaster_address` (RFC 5321 §4.5.1).',
    }),
  ),
  authentication: Authentication,
  create_account_default: Type.Boolean({
    description: 'What a create of a mailbox means that does not say `create_account`.',
  }),
  secure_password_mechanisms: SecurePasswordMechanisms,
  require_secure_password: Type.Boolean({
    description: 'Refuse clear-text logins; `password_file` accounts cannot log in then.',
  }),
  scram_iterations: Type.Integer({
    minimum: 4096,
    maximum: 1_000_000,
    description:
      'PBKDF2 iterations of SCRAM-SHA-256 verifiers made from now on (RFC 7677 §4: at least 4096).',
  }),
  local_name_max_length: Type.Integer({
    minimum: 1,
    maximum: 64,
    description: 'Longest name of `local` accounts made from now on.',
  }),
  password_min_length: Type.Integer({
    minimum: 8,
    maximum: 128,
    description: 'Fewest characters of passwords that are chosen from now on; generated ones do not count.',
  }),
  default_quota_bytes: bytes('Quota of mailboxes whose domain has none, in bytes; 0 = unlimited.'),
  deleted_retention_days: Type.Integer({
    minimum: 0,
    maximum: 3650,
    description: 'How long mailboxes deleted from now on can be restored.',
  }),
  forward_allowed_domains: Type.Unsafe<DomainName[] | null>({
    type: ['array', 'null'],
    items: { type: 'string', maxLength: 1024 },
    maxItems: 1000,
    description:
      'Domains outside the installation that aliases and forwarding may send mail on to (with `forwarding:write`), without their subdomains; null = any. What is set up already stays. Needs `mailflow:write`.',
  }),
}

const notBefore = 'Tokens issued earlier are refused, whoever issued them, on every replica within a second.'

const TokensNotBefore = nullable(
  Type.Unsafe<Date>({ type: 'string', format: 'date-time', description: `${notBefore} RFC 3339.` }),
)

const TokensNotBeforeUpdate = nullable(
  Type.String({
    format: 'date-time',
    description: `${notBefore} Not in the future; to go on, get a new token a second later. null accepts them all again.`,
  }),
)

const Statistics = strict(
  {
    domains: Type.Integer({ minimum: 0 }),
    mailboxes: Type.Integer({ minimum: 0, description: 'Active ones.' }),
    accounts: Type.Integer({ minimum: 0 }),
    messages: Type.Integer({ minimum: 0, description: 'In all active mailboxes.' }),
    bytes: bytes('In all active mailboxes.'),
    as_of: Timestamp,
  },
  {
    title: 'ServerStatistics',
    description:
      'Counts; of a large installation up to a minute old, or as old as `as_of` says while they are being counted again.',
  },
)

export const Server = strict(
  { ...settings, tokens_not_before: TokensNotBefore, statistics: Statistics, updated_at: Timestamp },
  {
    $id: 'Server',
    examples: [
      {
        mail_server: 'mail.example.jp',
        pop3s_port: 995,
        imaps_port: 993,
        submission_port: 587,
        relay_networks: ['192.0.2.0/28'],
        postmaster_address: null,
        authentication: 'local',
        create_account_default: true,
        secure_password_mechanisms: ['SCRAM-SHA-256'],
        require_secure_password: false,
        scram_iterations: 100_000,
        local_name_max_length: 20,
        password_min_length: 12,
        default_quota_bytes: 0,
        deleted_retention_days: 30,
        forward_allowed_domains: null,
        tokens_not_before: null,
        statistics: {
          domains: 2,
          mailboxes: 12,
          accounts: 13,
          messages: 640,
          bytes: 9_120_334,
          as_of: '2026-11-24T08:00:00.000Z',
        },
        updated_at: '2026-11-24T08:00:00.000Z',
      },
    ],
  },
)
export type Server = Static<typeof Server>

const resettable = {
  ...settings,
  pop3s_port: nullable(settings.pop3s_port),
  imaps_port: nullable(settings.imaps_port),
  submission_port: nullable(settings.submission_port),
  tokens_not_before: TokensNotBeforeUpdate,
}

export const ServerUpdate = strict(optional(resettable), {
  $id: 'ServerUpdate',
  description:
    'JSON Merge Patch (RFC 7396); null resets a port to its usual number, removes `postmaster_address` and `tokens_not_before`, and lets `forward_allowed_domains` be any.',
  examples: [{ local_name_max_length: 32 }],
})
export type ServerUpdate = Static<typeof ServerUpdate>

export const serverSchemas = [Server, ServerUpdate]
