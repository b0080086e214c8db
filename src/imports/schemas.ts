import Type, { type Static } from 'typebox'
import { DisplayName, ExternalId, loginPeriodMembers } from '../accounts/schemas.ts'
import { SentValues } from '../mailboxes/value-schemas.ts'
import {
  AllowRoleName,
  Authentication,
  defaulted,
  ListQuery,
  Locked,
  listOf,
  NoPassword,
  nullable,
  oneOf,
  optional,
  Password,
  QuotaBytes,
  ref,
  strict,
  Timestamp,
} from '../schemas.ts'

export const operations = [
  'create',
  'ensure',
  'lock',
  'unlock',
  'set',
  'delete',
  'restore',
  'rename',
] as const
export type Operation = (typeof operations)[number]

const person = { display_name: DisplayName, external_id: ExternalId, ...loginPeriodMembers }

/** One row as it is sent; which members go with which operation is judged apart. */
export const SentRow = strict({
  address: Type.String({ maxLength: 1100 }),
  ...optional({
    operation: oneOf(operations, { title: 'ImportOperation' }),
    create_account: Type.Boolean(),
    password: Password,
    password_hash: Type.String({ minLength: 1, maxLength: 512 }),
    no_password: NoPassword,
    authentication: Authentication,
    account: strict(optional(person)),
    ...person,
    quota_bytes: QuotaBytes,
    ...SentValues,
    allow_role_name: AllowRoleName,
    locked: Locked,
    new_address: Type.String({ maxLength: 1100 }),
    keep_old_as_alias: Type.Boolean(),
  }),
})
export type SentRow = Static<typeof SentRow>

const count = (description: string) => Type.Integer({ minimum: 0, description })

const ImportCounts = strict(
  {
    created: count('Mailboxes that were made.'),
    updated: count('Mailboxes that were changed.'),
    unchanged: count('Rows whose mailbox was as asked already.'),
    deleted: count('Mailboxes that were deleted.'),
    restored: count('Mailboxes that were restored.'),
    renamed: count('Mailboxes that were renamed.'),
    failed: count('Rows that were refused; each has its `problem`.'),
  },
  { $id: 'ImportCounts' },
)

const ImportProblem = strict(
  { type: Type.String(), title: Type.String(), status: Type.Integer(), detail: Type.Optional(Type.String()) },
  { $id: 'ImportProblem', description: 'Why the import as a whole ended (RFC 9457).' },
)

export const importStates = ['queued', 'running', 'completed', 'failed', 'cancelled'] as const

export const Import = strict(
  {
    id: Type.String({ format: 'uuid' }),
    state: oneOf(importStates, {
      title: 'ImportState',
      description:
        '`completed`: every row is done, some of them perhaps refused. `failed`: it ended before its last row; `problem` says why.',
    }),
    dry_run: Type.Boolean({ description: 'Every row is only tried.' }),
    on_error: oneOf(['continue', 'stop'], { title: 'OnError' }),
    rows: count('How many there are.'),
    rows_done: count('How many are done.'),
    counts: ref(ImportCounts),
    rows_per_second: nullable(Type.Number({ minimum: 0, description: 'Since it began; null before that.' })),
    seconds_left: nullable(
      Type.Integer({ minimum: 0, description: 'At this rate; null while there is none.' }),
    ),
    problem: Type.Unsafe<Static<typeof ImportProblem> | null>({
      anyOf: [ref(ImportProblem), { type: 'null' }],
    }),
    created_at: Timestamp,
    started_at: nullable(Timestamp),
    finished_at: nullable(Timestamp),
  },
  {
    $id: 'Import',
    examples: [
      {
        id: '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e',
        state: 'running',
        dry_run: false,
        on_error: 'continue',
        rows: 100000,
        rows_done: 25000,
        counts: { created: 24990, updated: 0, unchanged: 0, deleted: 0, restored: 0, renamed: 0, failed: 10 },
        rows_per_second: 4000,
        seconds_left: 19,
        problem: null,
        created_at: '2026-11-24T08:00:00.000Z',
        started_at: '2026-11-24T08:00:01.000Z',
        finished_at: null,
      },
    ],
  },
)
export type Import = Static<typeof Import>

export const ImportList = listOf(Import, 'ImportList')

export const importSchemas = [ImportCounts, ImportProblem, Import, ImportList]

export const ImportParams = strict({ import: Type.String({ description: 'The `id`.' }) })

export const ImportCreateQuery = strict({
  dry_run: defaulted(
    Type.Boolean({
      default: false,
      description:
        'true: only try. Every row gets the outcome that it would have now, and nothing is changed.',
    }),
  ),
  on_error: defaulted(
    oneOf(['continue', 'stop'], {
      title: 'OnError',
      default: 'continue',
      description: '`stop`: the first row that is refused ends the import; those before it are done.',
    }),
  ),
})
export type ImportCreateQuery = Static<typeof ImportCreateQuery>

export const ImportListQuery = strict(ListQuery)
