import Type, { type Static } from 'typebox'
import { defaulted, filterText, ListQuery, oneOf, optional, State, strict } from '../schemas.ts'

export const MailboxParams = strict({
  mailbox: Type.String({ description: 'The address, or the `id`.' }),
})

export const MailboxListQuery = strict({
  ...ListQuery,
  ...optional({
    domain: Type.String({ maxLength: 1024, description: 'Only of this domain.' }),
    prefix: filterText(64, 'Names that begin so.'),
    name: filterText(256, 'Exactly this name.'),
    external_id: filterText(200, 'Of the account; may give several.'),
    locked: Type.Boolean({ description: "The mailbox's own lock." }),
    hold: Type.Boolean({ description: 'Those that nothing purges.' }),
    updated_since: Type.String({
      format: 'date-time',
      description:
        'Changed at this moment or later: its own members, as `updated_at` shows. A change of its account or domain is not one of the mailbox.',
    }),
  }),
  state: defaulted({ ...State, default: 'active' }),
})
export type MailboxListQuery = Static<typeof MailboxListQuery>

export const MailboxDeleteQuery = strict({
  account: defaulted(
    oneOf(['keep', 'delete'], {
      title: 'KeepOrDelete',
      default: 'keep',
      description:
        'Whether its account goes too (needs `accounts:write`). For a caller limited to some domains, and with `password_file`, it always does.',
    }),
  ),
  purge: defaulted(
    Type.Boolean({
      default: false,
      description:
        'Remove it for good, also one that is deleted already, so that the name is free (needs `mailboxes:purge`).',
    }),
  ),
})
export type MailboxDeleteQuery = Static<typeof MailboxDeleteQuery>
