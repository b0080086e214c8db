import { type LoginFacts, toLogins } from '../mailboxes/credentials.ts'
import { toProblem } from '../problem-details.ts'
import { ProblemError } from '../problems.ts'
import type { RowStatus } from '../tables.ts'

/** What became of a row. */
export interface Outcome {
  status: RowStatus
  /** Of the mailbox; after a rename the new one. */
  address?: string
  problem?: ProblemError
  clear_text?: string | null
  secure_password?: string | null
}

export function failed(problem: ProblemError): Outcome {
  return { status: 'failed', problem }
}

/** Those that pass by themselves, so that the row is tried again, what ends the import, and what nobody has thought of. */
const noOutcomes: ReadonlySet<string> = new Set(['busy', 'unavailable', 'fuse-blown', 'internal-error'])

/** What stands against a row is its outcome; anything else is thrown. */
export async function outcomeOf(work: () => Promise<Outcome> | Outcome): Promise<Outcome> {
  try {
    return await work()
  } catch (error) {
    const problem = toProblem(error as Parameters<typeof toProblem>[0])
    if (noOutcomes.has(problem.code)) throw error
    return failed(problem)
  }
}

/** With the names to log in with. */
export function withLogins(outcome: Outcome, facts: LoginFacts): Outcome {
  const { clear_text, secure_password } = toLogins(facts)
  const logins = {
    clear_text: clear_text?.username ?? null,
    secure_password: secure_password?.username ?? null,
  }
  return { ...outcome, address: facts.address, ...logins }
}

export function isProblem(value: unknown): value is ProblemError {
  return value instanceof ProblemError
}
