import Type from 'typebox'
import { DisplayName, ExternalId, LoginPeriod } from '../accounts/schemas.ts'
import { nullable, oneOf, strict, Timestamp } from '../schemas.ts'

export const MailboxAccount = strict(
  {
    name: Type.String(),
    disabled: Type.Boolean(),
    ...LoginPeriod,
    display_name: DisplayName,
    external_id: ExternalId,
    password_set_at: nullable(Timestamp),
  },
  { $id: 'MailboxAccount', description: 'The account that owns the mailbox; it has the same name.' },
)

const forwardTo =
  'Addresses that its mail is sent on to at each delivery, with the sender that it has. Outside the domains of the installation (or of a limited caller) that takes the scope `forwarding:write`. Of those that are here, one that has vanished or refuses mail gets none; where none is left, the mail is put into the mailbox.'

const ForwardTo = nullable(
  Type.Array(Type.String({ maxLength: 1100 }), {
    maxItems: 10,
    description: `${forwardTo} [] or null = none.`,
  }),
)

const KeepCopy = Type.Boolean({
  description: 'Whether mail that is sent on to `forward_to` is put into the mailbox too (default true).',
})

const Delivery = oneOf(['accept', 'refuse'], {
  title: 'Delivery',
  description:
    '`refuse`: mail for it is refused (550 5.2.1) and none is sent on, also where it comes over another address; who may log in reads what is there. Default `accept`.',
})

const Hold = Type.Boolean({
  description:
    'true: nothing removes it for good, neither `purge=true` nor the end of its retention nor the deletion of its domain (409 `on-hold`). To send false takes the scope `mailboxes:purge` besides, but not when the mailbox is made by POST.',
})

const values = { keep_copy: KeepCopy, delivery: Delivery, hold: Hold }

export const ShownValues = {
  forward_to: Type.Array(Type.String(), { description: forwardTo }),
  ...values,
}

export const SentValues = { forward_to: ForwardTo, ...values }
