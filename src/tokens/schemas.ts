import Type, { type Static } from 'typebox'
import {
  defaulted,
  freeText,
  ListQuery,
  listOf,
  nullable,
  oneOf,
  optional,
  strict,
  Timestamp,
} from '../schemas.ts'
import { scopes } from '../scopes.ts'
import { fuses } from './limits.ts'

const id = Type.String({ format: 'uuid', description: 'Also the `jti` of the token.' })

const label = Type.String({ ...freeText('What the token is for, in words for people.'), minLength: 1 })

const scopeList = Type.Array(oneOf(scopes, { title: 'Scope' }), {
  minItems: 1,
  uniqueItems: true,
  description: 'What the token allows; you need each of them yourself (writing includes reading).',
})

const domains = Type.Array(Type.String({ maxLength: 1024 }), {
  minItems: 1,
  description: 'The domains that it is limited to; `["*"]` is all of them, also those to come.',
})

const allowedIps = Type.Array(Type.String({ maxLength: 64 }), {
  minItems: 1,
  maxItems: 20,
  description: 'The addresses and networks that it can be used from, such as `192.0.2.7` or `2001:db8::/32`.',
})

const passwordDelivery = oneOf(['any', 'sealed'], {
  title: 'PasswordDelivery',
  description:
    '`sealed`: it sets passwords only by having them made here and encrypted to a key (`seal_password_to`).',
})

/** What counts, in words. */
const counted = {
  deletes_per_day:
    'Mailboxes and accounts that are deleted or purged, aliases that are deleted, and names that a rename gives up; a domain counts as its mailboxes and aliases, at least one.',
  locks_per_day:
    'Mailboxes that are locked or set to refuse mail, and accounts that are disabled or whose time to log in is made shorter; a domain that is locked, or told not to accept mail, counts as its active mailboxes, at least one.',
  password_sets_per_day: 'Passwords that are set for accounts that are there.',
}

const limit = (description: string) => Type.Integer({ minimum: 0, maximum: 1_000_000_000, description })
const limits = {
  deletes_per_day: limit(counted.deletes_per_day),
  locks_per_day: limit(counted.locks_per_day),
  password_sets_per_day: limit(counted.password_sets_per_day),
}

const tokenStates = ['active', 'revoked', 'expired'] as const

const members = {
  id,
  parent: nullable(
    Type.String({
      format: 'uuid',
      description: 'The token that it was made with, where that is one of these; it ends with it.',
    }),
  ),
  label,
  scopes: scopeList,
  domains,
  allowed_ips: nullable(allowedIps),
  password_delivery: passwordDelivery,
  limits: strict(
    {
      deletes_per_day: nullable(limits.deletes_per_day),
      locks_per_day: nullable(limits.locks_per_day),
      password_sets_per_day: nullable(limits.password_sets_per_day),
    },
    {
      title: 'TokenLimits',
      description:
        'What it may do in a day (UTC), together with all that were made with it; null = no limit.',
    },
  ),
  blown_fuses: Type.Array(oneOf(fuses, { title: 'Fuse' }), {
    description:
      'The limits that were not enough once: what counts against them is refused until `POST /v1/tokens/{id}/reset`.',
  }),
  state: oneOf(tokenStates, {
    title: 'TokenState',
    description:
      '`revoked` is also what was made with a revoked token, and what is older than `tokens_not_before` of the server.',
  }),
  created_by: Type.String({ description: 'The subject of the token that it was made with.' }),
  created_at: Timestamp,
  expires_at: Timestamp,
  revoked_at: nullable(Timestamp),
  last_used_at: nullable(
    Type.Unsafe<Date>({
      type: 'string',
      format: 'date-time',
      description: 'RFC 3339; up to a minute late. null = never.',
    }),
  ),
}

const example = {
  id: '0c6fbb0a-5a4e-4f0e-9a58-7a6a2f6d1e3b',
  parent: null,
  label: 'Reseller of example.jp',
  scopes: ['mailboxes:write', 'passwords:write'],
  domains: ['example.jp'],
  allowed_ips: ['192.0.2.0/28'],
  password_delivery: 'any',
  limits: { deletes_per_day: 50, locks_per_day: null, password_sets_per_day: null },
  blown_fuses: [],
  state: 'active',
  created_by: 'command-line',
  created_at: '2026-11-24T08:00:00.000Z',
  expires_at: '2027-02-22T08:00:00.000Z',
  revoked_at: null,
  last_used_at: null,
}

export const Token = strict(members, { $id: 'Token', examples: [example] })
export type Token = Static<typeof Token>

export const TokenCreated = strict(
  {
    ...members,
    token: Type.Optional(
      Type.String({
        readOnly: true,
        description: 'The bearer token. Shown here once and kept nowhere.',
      }),
    ),
    secret_omitted: Type.Optional(
      Type.Boolean({
        readOnly: true,
        description:
          'true: the token was shown in the first answer under the `Idempotency-Key` and is not repeated. Whoever lost it revokes it and makes another.',
      }),
    ),
  },
  { $id: 'TokenCreated', examples: [{ ...example, token: 'eyJhbGciOiJFZERTQSJ9.eyJqdGkiOiIw….…' }] },
)
export type TokenCreated = Static<typeof TokenCreated>

export const TokenCreate = strict(
  {
    label,
    scopes: scopeList,
    domains: Type.Optional(
      Type.Array(Type.String({ maxLength: 1024 }), {
        minItems: 1,
        maxItems: 1000,
        description:
          'The domains that it is limited to, which must exist and be yours; `["*"]` is all of them. Left out: your own, as they are now.',
      }),
    ),
    expires_at: Type.Optional(
      Type.String({
        format: 'date-time',
        description:
          'At most 366 days away; left out: in 90 days. Never later than your own token ends, where `POST /v1/tokens` made that.',
      }),
    ),
    allowed_ips: Type.Optional({
      ...allowedIps,
      description:
        'The addresses and networks that it can be used from. Left out: those of your own token, which they must lie within; where that has none, from anywhere.',
    }),
    password_delivery: Type.Optional(passwordDelivery),
    limits: Type.Optional(
      strict(optional(limits), {
        title: 'TokenLimitsWanted',
        description:
          'What it may do in a day (UTC). What is wanted beyond is refused with 429 `fuse-blown`, from then on and also on the next day, until another token resets it. Left out: the limits of your own token, which it cannot exceed; what it does counts against those too.',
      }),
    ),
  },
  {
    $id: 'TokenCreate',
    examples: [
      {
        label: 'Reseller of example.jp',
        scopes: ['mailboxes:write', 'passwords:write'],
        domains: ['example.jp'],
        limits: { deletes_per_day: 50 },
      },
    ],
  },
)
export type TokenCreate = Static<typeof TokenCreate>

export const TokenList = listOf(Token, 'TokenList')

export const TokenParams = strict({ id: Type.String({ description: 'The `id` of the token.' }) })

export const TokenListQuery = strict({
  ...ListQuery,
  state: defaulted(oneOf(tokenStates, { title: 'TokenState', default: 'active' })),
})
export type TokenListQuery = Static<typeof TokenListQuery>

export const tokenSchemas = [Token, TokenCreated, TokenCreate, TokenList]
