import Type, { type Static } from 'typebox'
import { Problem } from '../responses.ts'
import { ListQuery, listOf, nullable, oneOf, optional, ref, strict } from '../schemas.ts'
import { operations } from './schemas.ts'

export const rowStatuses = [
  'created',
  'updated',
  'unchanged',
  'deleted',
  'restored',
  'renamed',
  'failed',
] as const

const { instance: _, ...problemOfRow } = Problem.properties
const RowProblem = strict(problemOfRow, {
  $id: 'RowProblem',
  description: 'Why the row was refused: what the single call would have answered (RFC 9457).',
})

export const ImportRow = strict(
  {
    line: Type.Integer({ minimum: 1, description: 'Of the file, on which the row begins.' }),
    operation: nullable(oneOf(operations, { title: 'ImportOperation' })),
    address: nullable(
      Type.String({
        description:
          'Of the mailbox; after a rename the new one, but in a dry run. null: what was sent is none.',
      }),
    ),
    status: oneOf([...rowStatuses, 'pending', 'skipped'], {
      title: 'ImportRowState',
      description: '`skipped`: the import ended before this row.',
    }),
    clear_text_username: nullable(
      Type.String({
        description: 'The login name for programs that send the password; null: no such login.',
      }),
    ),
    secure_password_username: nullable(
      Type.String({ description: 'The login name for challenge and response; null: no such login.' }),
    ),
    problem: Type.Unsafe<Static<typeof RowProblem> | null>({ anyOf: [ref(RowProblem), { type: 'null' }] }),
  },
  {
    $id: 'ImportRow',
    examples: [
      {
        line: 2,
        operation: 'ensure',
        address: 'user05@example.jp',
        status: 'created',
        clear_text_username: 'user05@example.jp',
        secure_password_username: 'user05',
        problem: null,
      },
      {
        line: 3,
        operation: 'ensure',
        address: 'user06@example.jp',
        status: 'failed',
        clear_text_username: null,
        secure_password_username: null,
        problem: {
          type: '/problems/password-hash-refused',
          title: 'This password hash is not taken',
          status: 422,
        },
      },
    ],
  },
)
export type ImportRow = Static<typeof ImportRow>

export const ImportRowList = listOf(ImportRow, 'ImportRowList')

export const rowSchemas = [RowProblem, ImportRow, ImportRowList]

export const ImportRowListQuery = strict({
  ...ListQuery,
  ...optional({
    status: oneOf(rowStatuses, { title: 'ImportOutcome', description: 'Only rows with this outcome.' }),
  }),
})
