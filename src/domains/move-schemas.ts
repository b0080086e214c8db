import Type, { type Static } from 'typebox'
import { AllowRoleName, optional, strict } from '../schemas.ts'

export const DomainMove = strict(
  {
    to: Type.String({
      maxLength: 1024,
      description: 'The domain that gets the addresses: one that is here, active and no alias of another.',
    }),
    ...optional({
      keep_old_as_alias: Type.Boolean({
        description:
          'Default true: the old domain becomes an alias of the new one, so that every old address goes on working. false, which takes `mailboxes:purge` besides: it stays, empty, and mail for the old addresses is refused.',
      }),
      allow_role_name: {
        ...AllowRoleName,
        description:
          'Needed where one of the addresses is a role name or the catch-all; takes the scope `names:reserved`.',
      },
    }),
  },
  { $id: 'DomainMove', examples: [{ to: 'example.com' }] },
)
export type DomainMove = Static<typeof DomainMove>

const count = (description: string) => Type.Integer({ minimum: 0, description })

export const DomainMoved = strict(
  {
    domain: Type.String({ description: 'The domain that the addresses were in.' }),
    to: Type.String({ description: 'The one that they are in now.' }),
    kept_as_alias: Type.Boolean({ description: 'Whether the old domain is an alias of the new one.' }),
    mailboxes_moved: count('Deleted ones too.'),
    aliases_moved: count('The catch-all too.'),
    aliases_dropped: count(
      'Aliases of either domain that did nothing but send to the address of the same name in the other.',
    ),
    alias_domains_moved: count('Alias domains of the old domain, which stand for the new one now.'),
  },
  {
    $id: 'DomainMoved',
    examples: [
      {
        domain: 'example.jp',
        to: 'example.com',
        kept_as_alias: true,
        mailboxes_moved: 20_000,
        aliases_moved: 310,
        aliases_dropped: 0,
        alias_domains_moved: 1,
      },
    ],
  },
)
export type DomainMoved = Static<typeof DomainMoved>

export const domainMoveSchemas = [DomainMove, DomainMoved]
