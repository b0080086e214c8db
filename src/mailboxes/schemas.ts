import Type, { type Static } from 'typebox'
import {
  AllowRoleName,
  Authentication,
  bytes,
  GeneratedPassword,
  Locked,
  listOf,
  nullable,
  oneOf,
  optional,
  QuotaBytes,
  ref,
  SealedPassword,
  SecretOmitted,
  State,
  strict,
  Timestamp,
} from '../schemas.ts'
import { MailboxCreate, MailboxEnsure } from './create-schemas.ts'
import { Credentials, credentialSchemas } from './credentials.ts'
import { MailboxAccount, SentValues, ShownValues } from './value-schemas.ts'

const Usage = strict(
  {
    bytes: bytes('What its messages hold, in bytes.'),
    messages: Type.Integer({ minimum: 0 }),
    updated_at: nullable(Timestamp),
  },
  { $id: 'Usage', description: 'As the mail servers counted it last; null = nothing was ever delivered.' },
)

const example = {
  id: '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e',
  address: 'user05@example.jp',
  name: 'user05',
  domain: 'example.jp',
  account: {
    name: 'user05',
    disabled: false,
    login_from: null,
    login_until: '2027-03-31T15:00:00.000Z',
    display_name: 'Hanako Yamada',
    external_id: '1001',
    password_set_at: '2026-11-24T08:00:00.000Z',
  },
  authentication: 'local',
  locked: false,
  effective_locked: false,
  login_blocked_by: [],
  quota_bytes: null,
  effective_quota_bytes: 0,
  forward_to: [],
  keep_copy: true,
  delivery: 'accept',
  hold: false,
  usage: { bytes: 48213, messages: 12, updated_at: '2026-11-24T08:00:00.000Z' },
  last_login_at: '2026-11-24T08:00:00.000Z',
  state: 'active',
  purge_at: null,
  credentials: {
    clear_text: { username: 'user05@example.jp', mechanisms: ['PLAIN', 'LOGIN'] },
    secure_password: { username: 'user05', mechanisms: ['SCRAM-SHA-256'] },
    servers: [
      { protocol: 'pop3', host: 'mail.example.jp', port: 995, security: 'tls' },
      { protocol: 'imap', host: 'mail.example.jp', port: 993, security: 'tls' },
      { protocol: 'submission', host: 'mail.example.jp', port: 587, security: 'starttls' },
    ],
  },
  created_at: '2026-11-24T08:00:00.000Z',
  updated_at: '2026-11-24T08:00:00.000Z',
}

const members = {
  id: Type.String({ format: 'uuid', description: 'Never changes; the mail lies in a folder of this name.' }),
  address: Type.String(),
  name: Type.String({ description: 'The local part; unique in the whole installation.' }),
  domain: Type.String({ description: 'A-labels.' }),
  account: ref(MailboxAccount),
  authentication: Authentication,
  locked: Locked,
  effective_locked: Type.Boolean({ description: "Its own lock, or its domain's." }),
  login_blocked_by: Type.Array(
    oneOf(['mailbox', 'domain', 'account', 'not-yet', 'expired', 'no-password', 'no-login-form', 'deleted'], {
      title: 'LoginBlock',
    }),
    {
      description:
        'Every reason why nobody can log in at this moment: the lock of the mailbox or the domain, the disabled account, its `login_from` that is still to come or its `login_until` that is over, no password, no form of login that the settings allow, the deletion.',
    },
  ),
  quota_bytes: QuotaBytes,
  effective_quota_bytes: bytes('In force, in bytes; 0 = unlimited.'),
  ...ShownValues,
  usage: ref(Usage),
  last_login_at: nullable(Timestamp),
  state: State,
  purge_at: nullable(Timestamp),
  credentials: ref(Credentials),
  created_at: Timestamp,
  updated_at: Timestamp,
}

export const Mailbox = strict(members, { $id: 'Mailbox', examples: [example] })
export type Mailbox = Static<typeof Mailbox>

export const MailboxCreated = strict(
  {
    ...members,
    ...optional({
      generated_password: GeneratedPassword,
      sealed_password: SealedPassword,
      secret_omitted: SecretOmitted,
    }),
  },
  { $id: 'MailboxCreated', examples: [{ ...example, generated_password: 'Rk7mD-x3vQz-9tHwB-LpN4c-uJ6yG' }] },
)
export type MailboxCreated = Static<typeof MailboxCreated>

export const MailboxEnsured = strict(
  {
    ...members,
    password_applied: Type.Boolean({
      description: 'Whether the password of the request was set: only where this call created the account.',
    }),
    ...optional({
      generated_password: GeneratedPassword,
      sealed_password: SealedPassword,
      secret_omitted: SecretOmitted,
    }),
  },
  { $id: 'MailboxEnsured', examples: [{ ...example, password_applied: false }] },
)
export type MailboxEnsured = Static<typeof MailboxEnsured>

export const MailboxUpdate = strict(
  optional({
    locked: Locked,
    quota_bytes: QuotaBytes,
    ...SentValues,
  }),
  {
    $id: 'MailboxUpdate',
    description: 'JSON Merge Patch (RFC 7396). `hold` by itself reaches a deleted mailbox too.',
    examples: [{ locked: true }, { forward_to: ['user06@example.jp'], keep_copy: false }],
  },
)
export type MailboxUpdate = Static<typeof MailboxUpdate>

export const MailboxRename = strict(
  {
    address: Type.String({ maxLength: 1100, description: 'The new one, as in a create.' }),
    ...optional({
      keep_old_as_alias: Type.Boolean({
        description:
          'Default true: the old address is an alias of the new one, and its name is held as long as the alias is there.',
      }),
      allow_role_name: AllowRoleName,
    }),
  },
  { $id: 'MailboxRename', examples: [{ address: 'hanako.suzuki@example.jp' }] },
)
export type MailboxRename = Static<typeof MailboxRename>

export const MailboxList = strict(
  {
    ...listOf(Mailbox, '').properties,
    as_of: Type.Optional(
      Type.Unsafe<string>({
        type: 'string',
        format: 'date-time',
        description:
          'With `updated_since`: send it as `updated_since` of the next poll, and no change of a mailbox is missed.',
      }),
    ),
  },
  { $id: 'MailboxList' },
)

export const mailboxSchemas = [
  ...credentialSchemas,
  Usage,
  MailboxAccount,
  Mailbox,
  MailboxCreated,
  MailboxEnsured,
  MailboxCreate,
  MailboxEnsure,
  MailboxUpdate,
  MailboxRename,
  MailboxList,
]
