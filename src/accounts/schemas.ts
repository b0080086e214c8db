import Type, { type Static } from 'typebox'
import {
  AllowRoleName,
  Authentication,
  filterText,
  freeText,
  GeneratedPassword,
  GeneratePassword,
  ListQuery,
  listOf,
  NoPassword,
  nullable,
  oneOf,
  optional,
  Password,
  ref,
  SealedPassword,
  SealingKey,
  SecretOmitted,
  strict,
  Timestamp,
} from '../schemas.ts'
import { foreignSchemes } from './verifiers.ts'

export const DisplayName = nullable(freeText('For people.'))
export const ExternalId = nullable(freeText("The caller's own key for the person; need not be unique."))

const loginFrom =
  'Nobody can log in with it before this moment; null = no limit. Mail is received all the time.'
const loginUntil =
  'From this moment on nobody can log in with it, and open sessions are ended; null = no limit. Mail is still received.'

/** RFC 3339 with an offset, so that a moment is named and not a day. */
const moment = (description: string) =>
  nullable(Type.String({ format: 'date-time', maxLength: 64, description }))

export const loginPeriodMembers = { login_from: moment(loginFrom), login_until: moment(loginUntil) }

export const LoginPeriod = {
  login_from: nullable({ ...Timestamp, description: loginFrom }),
  login_until: nullable({ ...Timestamp, description: loginUntil }),
}

const passwordSchemes = ['ARGON2ID', ...foreignSchemes] as const

const updatable = {
  disabled: Type.Boolean({ description: 'Nobody can log in with it; its mailbox still receives mail.' }),
  display_name: DisplayName,
  external_id: ExternalId,
}

const example = {
  name: 'user05',
  authentication: 'local',
  disabled: false,
  login_from: null,
  login_until: '2027-03-31T15:00:00.000Z',
  display_name: 'Hanako Yamada',
  external_id: '1001',
  mailbox: 'user05@example.jp',
  password_set_at: '2026-11-24T08:00:00.000Z',
  password_scheme: 'ARGON2ID' as const,
  created_at: '2026-11-24T08:00:00.000Z',
  updated_at: '2026-11-24T08:00:00.000Z',
}

const PasswordScheme = oneOf(passwordSchemes, {
  title: 'PasswordScheme',
  description:
    "How the clear-text side of its password is kept, by Dovecot's names; null = it has none. Others than `ARGON2ID` came with an import, and last until the password is next set.",
})
export type PasswordScheme = (typeof passwordSchemes)[number]

const members = {
  name: Type.String({
    description: 'The login name; at the same time the local part of its mailbox, where it has one.',
  }),
  authentication: Authentication,
  ...updatable,
  ...LoginPeriod,
  mailbox: nullable(Type.String({ description: 'The address of its active mailbox.' })),
  password_set_at: nullable(Timestamp),
  password_scheme: nullable(PasswordScheme),
  created_at: Timestamp,
  updated_at: Timestamp,
}

export const Account = strict(members, { $id: 'Account', examples: [example] })
export type Account = Static<typeof Account>

export const AccountCreated = strict(
  {
    ...members,
    ...optional({
      generated_password: GeneratedPassword,
      sealed_password: SealedPassword,
      secret_omitted: SecretOmitted,
    }),
  },
  {
    $id: 'AccountCreated',
    examples: [{ ...example, mailbox: null, generated_password: 'Rk7mD-x3vQz-9tHwB-LpN4c-uJ6yG' }],
  },
)
export type AccountCreated = Static<typeof AccountCreated>

export const AccountCreate = strict(
  {
    name: Type.String({
      maxLength: 256,
      description:
        'Letters, digits, hyphen, underscore, period (not first, last or doubled); kept in lower case. Up to 20 characters for `local` accounts, unless the server is set otherwise.',
    }),
    ...optional({
      allow_role_name: AllowRoleName,
      password: Password,
      generate_password: GeneratePassword,
      seal_password_to: ref(SealingKey),
      no_password: NoPassword,
      authentication: Authentication,
      display_name: DisplayName,
      external_id: ExternalId,
      ...loginPeriodMembers,
    }),
  },
  {
    $id: 'AccountCreate',
    examples: [{ name: 'user05', generate_password: true, display_name: 'Hanako Yamada' }],
  },
)
export type AccountCreate = Static<typeof AccountCreate>

export const AccountUpdate = strict(optional({ ...updatable, ...loginPeriodMembers }), {
  $id: 'AccountUpdate',
  description: 'JSON Merge Patch (RFC 7396).',
  examples: [{ disabled: true }],
})
export type AccountUpdate = Static<typeof AccountUpdate>

export const AccountList = listOf(Account, 'AccountList')

export const AccountParams = strict({ account: Type.String({ description: 'The name.' }) })

export const AccountListQuery = strict({
  ...ListQuery,
  prefix: Type.Optional(filterText(64, 'Names that begin so.')),
  external_id: Type.Optional(filterText(200, 'May give several.')),
  password_scheme: Type.Optional(PasswordScheme),
})
export type AccountListQuery = Static<typeof AccountListQuery>

export const PasswordSet = strict(
  optional({
    password: Password,
    generate_password: GeneratePassword,
    seal_password_to: ref(SealingKey),
  }),
  {
    $id: 'PasswordSet',
    description: 'Either `password` or `generate_password: true`, the latter also with `seal_password_to`.',
    examples: [{ generate_password: true }],
  },
)

export const PasswordGenerated = strict(
  optional({
    generated_password: GeneratedPassword,
    sealed_password: SealedPassword,
    secret_omitted: SecretOmitted,
  }),
  {
    $id: 'PasswordGenerated',
    minProperties: 1,
    description: '`sealed_password` where `seal_password_to` was sent, else `generated_password`.',
    examples: [{ generated_password: 'Rk7mD-x3vQz-9tHwB-LpN4c-uJ6yG' }],
  },
)

export const PasswordCheck = strict(
  {
    password: Type.String({
      minLength: 1,
      maxLength: 128,
      format: 'password',
      writeOnly: true,
      description: 'As the person typed it; compared in its NFC form.',
    }),
  },
  { $id: 'PasswordCheck', examples: [{ password: 'correct horse battery' }] },
)

export const PasswordChecked = strict(
  { valid: Type.Boolean({ description: 'Whether it is the password of this account.' }) },
  { $id: 'PasswordChecked', examples: [{ valid: true }] },
)

export const accountSchemas = [
  SealingKey,
  Account,
  AccountCreated,
  AccountCreate,
  AccountUpdate,
  AccountList,
  PasswordSet,
  PasswordGenerated,
  PasswordCheck,
  PasswordChecked,
]
