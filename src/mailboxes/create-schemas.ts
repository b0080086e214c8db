import Type, { type Static } from 'typebox'
import { DisplayName, ExternalId, loginPeriodMembers } from '../accounts/schemas.ts'
import { problemAt } from '../problems.ts'
import {
  AllowRoleName,
  Authentication,
  GeneratePassword,
  NoPassword,
  optional,
  Password,
  QuotaBytes,
  ref,
  SealingKey,
  strict,
} from '../schemas.ts'
import { SentValues } from './value-schemas.ts'

const settable = optional({
  create_account: Type.Boolean({
    description:
      "Whether the account is made too (default: the server's `create_account_default`). With false it must exist already and keeps its password; that needs `accounts:write` besides, and all domains.",
  }),
  password: Password,
  generate_password: GeneratePassword,
  seal_password_to: ref(SealingKey),
  no_password: NoPassword,
  authentication: Authentication,
  account: strict(optional({ display_name: DisplayName, external_id: ExternalId, ...loginPeriodMembers }), {
    title: 'AccountDetails',
  }),
  quota_bytes: QuotaBytes,
  ...SentValues,
  allow_role_name: AllowRoleName,
})

const place = optional({
  address: Type.String({
    maxLength: 1100,
    description:
      '`name@domain`, in any case; the domain also as U-labels, with one trailing dot or none. This, or `domain` with `name_candidates`.',
  }),
  domain: Type.String({ maxLength: 1024, description: 'The domain of the `name_candidates`.' }),
  name_candidates: Type.Array(Type.String({ maxLength: 256 }), {
    minItems: 1,
    maxItems: 20,
    description:
      'Names in the order of preference: the mailbox gets the first one that nobody has in the whole installation, with an account of its own. Each has to be one that `address` could have; they differ in lower case.',
  }),
})

export const MailboxCreate = strict(
  { ...place, ...settable },
  {
    $id: 'MailboxCreate',
    dependentRequired: { domain: ['name_candidates'], name_candidates: ['domain'] },
    examples: [
      { address: 'user05@example.jp', generate_password: true, account: { display_name: 'Hanako Yamada' } },
      { domain: 'example.jp', name_candidates: ['hanako.yamada', 'h.yamada'], generate_password: true },
    ],
  },
)
export type MailboxCreate = Static<typeof MailboxCreate>

export type Candidates = Required<Pick<MailboxCreate, 'domain' | 'name_candidates'>>

/** Which of the two forms a body has. That `domain` and `name_candidates` go together is in the schema. */
export function placeOf({ address, domain, name_candidates, ...body }: MailboxCreate): {
  place: Candidates | { address: string }
  body: MailboxEnsure
} {
  const candidates = domain !== undefined && name_candidates !== undefined && { domain, name_candidates }
  if (address === undefined && candidates) return { place: candidates, body }
  if (address !== undefined && !candidates) return { place: { address }, body }
  const detail = candidates
    ? 'Send either address, or domain with name_candidates.'
    : 'is missing: send it, or domain with name_candidates.'
  throw problemAt('invalid-request', '/address', detail)
}

export const MailboxEnsure = strict(settable, {
  $id: 'MailboxEnsure',
  examples: [{ generate_password: true, account: { external_id: '1001' } }],
})
export type MailboxEnsure = Static<typeof MailboxEnsure>
