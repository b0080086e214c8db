import { lookUpAddress, parseAddress } from '../mailboxes/address.ts'
import { ProblemError, problem, problemAt } from '../problems.ts'
import { compileBody } from '../validation.ts'
import { type Operation, SentRow } from './schemas.ts'
import type { Secrets } from './seal.ts'

/** What stands in the file, with the line on which it begins. */
export interface FileRow {
  line: number
  members: unknown
}

/** A row of the right shape, parted into what may be kept as it is and what may not. */
export interface ReadRow {
  line: number
  operation: Operation
  /** In its stored form. */
  address: string
  content: Omit<SentRow, 'operation' | 'address' | keyof Secrets>
  secrets: Secrets | undefined
}

/** One of the wrong shape. Of it nothing is kept: who knows what it was. */
export interface RefusedRow {
  line: number
  problem: ProblemError
}

const check = compileBody(SentRow)

export function readRow({ line, members }: FileRow): ReadRow | RefusedRow {
  try {
    const { operation = 'ensure', address, ...others } = checkRow(members)
    assertMembersFit(operation, others)
    const parse = operation === 'create' || operation === 'ensure' ? parseAddress : lookUpAddress
    const { password, password_hash, ...content } = others
    const secrets = {
      ...(password !== undefined && { password }),
      ...(password_hash !== undefined && { password_hash }),
    }
    const hasSecrets = Object.keys(secrets).length > 0
    return {
      line,
      operation,
      address: parse(address).address,
      content,
      secrets: hasSecrets ? secrets : undefined,
    }
  } catch (error) {
    if (error instanceof ProblemError) return { line, problem: error }
    throw error
  }
}

function checkRow(members: unknown): SentRow {
  const errors = check(members)
  if (errors) throw problem('invalid-request', { errors })
  return members as SentRow
}

const person = ['display_name', 'external_id', 'account']
const creation = [
  ...person,
  ...['login_from', 'login_until', 'create_account', 'password', 'password_hash', 'no_password'],
  ...['authentication', 'quota_bytes', 'forward_to', 'keep_copy', 'delivery', 'hold', 'allow_role_name'],
]

/** The members that each operation takes besides the address. */
const takes: Record<Operation, readonly string[]> = {
  create: creation,
  ensure: creation,
  lock: [],
  unlock: [],
  set: ['locked', 'quota_bytes', ...person],
  delete: [],
  restore: [],
  rename: ['new_address', 'keep_old_as_alias', 'allow_role_name'],
}

function assertMembersFit(operation: Operation, members: object): void {
  const other = Object.keys(members).find((member) => !takes[operation].includes(member))
  if (other) throw problemAt('invalid-request', `/${other}`, `does not go with the operation ${operation}`)
  if (operation === 'rename' && !('new_address' in members))
    throw problemAt('invalid-request', '/new_address', 'is missing')
}
