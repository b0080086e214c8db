import Type, { type Static } from 'typebox'
import { SecurePasswordMechanism } from '../accounts/mechanism-schema.ts'
import {
  authentications,
  bytes,
  defaulted,
  filterText,
  ListQuery,
  listOf,
  nullable,
  oneOf,
  optional,
  State,
  strict,
  Timestamp,
} from '../schemas.ts'

const Name = Type.String({
  maxLength: 1024,
  description:
    'A-labels or U-labels in any case; one trailing dot is dropped. Stored and returned as A-labels in lower case.',
})
export const SecurePasswordMechanisms = Type.Array(SecurePasswordMechanism, {
  uniqueItems: true,
  description:
    'Challenge–response mechanisms for which verifiers are made when a password is set. Adding one reaches an account at its next change of password; removing one deletes those verifiers at once. All verifiers of one password are as strong as the weakest: CRAM-MD5 keeps one that is as good as the password.',
})
const members = {
  locked: Type.Boolean({
    description:
      'No mailbox of the domain can log in; mail is still delivered. The mailboxes keep their own locks.',
  }),
  authentication: nullable(
    oneOf(authentications, {
      title: 'Authentication',
      description: "Of accounts created from now on; null = the server's.",
    }),
  ),
  secure_password_mechanisms: Type.Unsafe<Static<typeof SecurePasswordMechanisms> | null>({
    ...SecurePasswordMechanisms,
    type: ['array', 'null'],
    description: "null = the server's. See the setting of the same name in `GET /v1/server`.",
  }),
  mail_server: nullable(
    Type.String({
      maxLength: 1024,
      description:
        "Host name that clients of this domain are told; null = the server's. Needs `mailflow:write`.",
    }),
  ),
  postmaster_address: nullable(
    Type.String({
      maxLength: 1024,
      description:
        'Gets postmaster@ and abuse@ of this domain where it has no such mailbox or alias (RFC 5321 §4.5.1).',
    }),
  ),
  mailbox_limit: nullable(
    Type.Integer({
      minimum: 0,
      maximum: 2_147_483_647,
      description: 'Active mailboxes at most; null = no limit.',
    }),
  ),
  default_quota_bytes: nullable(
    bytes("Quota of mailboxes that have none of their own, in bytes; 0 = unlimited, null = the server's."),
  ),
  accepts_mail: Type.Boolean({
    description:
      'false: the mail servers do not take mail for the domain yet, and what its own users send to it goes outside; its mailboxes and logins work. To fill a domain first and cut over by one PATCH.',
  }),
  alias_of: nullable(
    Type.String({
      maxLength: 1024,
      description:
        'Another domain, whose addresses are all addresses of this one too: mail to them is delivered there, and their holders may send as them; logins stay those of the other domain. Such a domain has no addresses of its own. null = it has. Shown as null to a caller that may not see the other domain.',
    }),
  ),
}

const example = {
  name: 'example.jp',
  unicode_name: 'example.jp',
  state: 'active',
  locked: false,
  authentication: null,
  secure_password_mechanisms: null,
  mail_server: null,
  postmaster_address: null,
  mailbox_limit: null,
  default_quota_bytes: null,
  accepts_mail: true,
  alias_of: null,
  mailbox_count: 12,
  purge_at: null,
  created_at: '2026-11-24T08:00:00.000Z',
  updated_at: '2026-11-24T08:00:00.000Z',
}

export const Domain = strict(
  {
    name: Type.String({ description: 'A-labels, lower case.' }),
    unicode_name: nullable(
      Type.String({
        description: 'The name to show to people; null where its scripts are mixed in a misleading way.',
      }),
    ),
    state: State,
    ...members,
    mailbox_count: Type.Integer({
      minimum: 0,
      description: 'Active mailboxes. In a list the count of a large domain may be up to a minute old.',
    }),
    purge_at: nullable(Timestamp),
    created_at: Timestamp,
    updated_at: Timestamp,
  },
  { $id: 'Domain', examples: [example] },
)
export type Domain = Static<typeof Domain>

export const DomainCreate = strict(
  { name: Name, ...optional({ ...members, accepts_mail: { ...members.accepts_mail, default: true } }) },
  { $id: 'DomainCreate', examples: [{ name: 'example.jp' }] },
)
export type DomainCreate = Static<typeof DomainCreate>

export const DomainUpdate = strict(optional(members), {
  $id: 'DomainUpdate',
  description:
    'JSON Merge Patch (RFC 7396): members left out stay as they are; null, where it is allowed, is the value of the server, or none.',
  examples: [{ locked: true }],
})
export type DomainUpdate = Static<typeof DomainUpdate>

export const DomainList = listOf(Domain, 'DomainList')

export const DomainParams = strict({
  domain: Type.String({ description: 'The domain name.' }),
})

export const DomainListQuery = strict({
  ...ListQuery,
  prefix: Type.Optional(filterText(253, 'Names that begin so (A-labels).')),
  state: defaulted({ ...State, default: 'active' }),
})
export type DomainListQuery = Static<typeof DomainListQuery>

export const DomainDeleteQuery = strict({
  mailboxes: Type.Optional(oneOf(['delete'], { description: 'Delete its mailboxes too; needs `expect`.' })),
  expect: Type.Optional(
    Type.Integer({
      minimum: 0,
      description:
        'The `mailbox_count` that the caller knows; with another one nothing is deleted (409 `count-mismatch`).',
    }),
  ),
  accounts: defaulted(
    oneOf(['keep', 'delete'], {
      title: 'KeepOrDelete',
      default: 'keep',
      description: 'Whether `local` accounts of the deleted mailboxes go too (needs `accounts:write`).',
    }),
  ),
  purge: defaulted(
    Type.Boolean({
      default: false,
      description:
        'Remove the domain and all its mailboxes, deleted ones too, for good (needs `mailboxes:purge`).',
    }),
  ),
})
export type DomainDeleteQuery = Static<typeof DomainDeleteQuery>

export const domainSchemas = [Domain, DomainCreate, DomainUpdate, DomainList]
