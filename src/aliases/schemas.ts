import Type, { type Static } from 'typebox'
import { AllowRoleName, filterText, ListQuery, listOf, optional, strict, Timestamp } from '../schemas.ts'

const Targets = Type.Array(Type.String({ maxLength: 1024 }), {
  minItems: 1,
  maxItems: 100,
  description:
    'Addresses that get the mail. One in a domain of the caller has to exist, as a mailbox or as an alias. Any other is forwarding: it needs `forwarding:write` and has to fit the setting `forward_allowed_domains`.',
})
const SendAs = Type.Boolean({
  description:
    'Whether the mailboxes among the targets may send with the alias as envelope sender. Never so for a catch-all.',
})

export const Alias = strict(
  {
    address: Type.String({ description: 'The address, or `@domain` for the catch-all of a domain.' }),
    targets: Targets,
    send_as: SendAs,
    broken_targets: Type.Array(Type.String(), {
      description:
        'Targets that get nothing, because no mailbox is there any more; those in the domains of the caller are shown. With no other target left, mail to the alias is refused (550).',
    }),
    holds_name: Type.Boolean({
      description:
        'The alias is the old address of a renamed mailbox, and nobody can take its name as long as it exists.',
    }),
    created_at: Timestamp,
    updated_at: Timestamp,
  },
  {
    $id: 'Alias',
    examples: [
      {
        address: 'info@example.jp',
        targets: ['user05@example.jp', 'desk@partner.example'],
        send_as: false,
        broken_targets: [],
        holds_name: false,
        created_at: '2026-11-24T08:00:00.000Z',
        updated_at: '2026-11-24T08:00:00.000Z',
      },
    ],
  },
)
export type Alias = Static<typeof Alias>

export const AliasCreate = strict(
  {
    address: Type.String({
      maxLength: 1024,
      description:
        'A new address, or `@domain` for the catch-all of a domain: it gets the mail for whatever is no address of the domain, in any state, and needs `allow_role_name`, since that is role names too.',
    }),
    targets: Targets,
    ...optional({ send_as: Type.Boolean({ ...SendAs, default: false }), allow_role_name: AllowRoleName }),
  },
  {
    $id: 'AliasCreate',
    examples: [{ address: 'team@example.jp', targets: ['user05@example.jp', 'user06@example.jp'] }],
  },
)

export const AliasUpdate = strict(optional({ targets: Targets, send_as: SendAs }), {
  $id: 'AliasUpdate',
  description: 'JSON Merge Patch (RFC 7396): `targets` replaces the whole list.',
  examples: [{ send_as: true }],
})
export type AliasUpdate = Static<typeof AliasUpdate>

export const AliasList = listOf(Alias, 'AliasList')

export const AliasParams = strict({
  address: Type.String({ description: 'The address of the alias, or `@domain`.' }),
})

export const AliasListQuery = strict({
  ...ListQuery,
  ...optional({
    domain: Type.String({ maxLength: 1024, description: 'Only of this domain.' }),
    target: filterText(1024, 'With exactly this target.'),
    prefix: filterText(64, 'Whose local part begins so.'),
  }),
})
export type AliasListQuery = Static<typeof AliasListQuery>

export const aliasSchemas = [Alias, AliasCreate, AliasUpdate, AliasList]
