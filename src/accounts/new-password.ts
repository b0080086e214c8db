import { problem, problemAt } from '../problems.ts'
import type { WorkQueue } from '../work-queue.ts'
import { generatePassword, parsePassword } from './password.ts'
import { assertStrong, type PasswordPolicy } from './password-policy.ts'
import { deriveVerifiers, type Verifier, type VerifierOptions } from './verifiers.ts'

export interface NewPassword {
  text: string
  /** Made here, so that the answer has to show it. */
  generated: boolean
}

interface PasswordMembers {
  password?: string
  generate_password?: boolean
}

/** What a body says about a new password; undefined where it says nothing. */
export function readNewPassword({ password, generate_password }: PasswordMembers): NewPassword | undefined {
  if (generate_password && password !== undefined) {
    throw problemAt(
      'password-not-accepted',
      '/password',
      'Send either password or generate_password, not both.',
    )
  }
  if (generate_password) return { text: generatePassword(), generated: true }
  return password === undefined ? undefined : { text: parsePassword(password), generated: false }
}

export function requirePassword(password: NewPassword | undefined): NewPassword {
  if (password) return password
  throw problem('password-required', { detail: 'Send password, or generate_password: true.' })
}

/** What the answer shows, once. */
export function toShow(password: NewPassword | undefined): { generated_password: string } | undefined {
  return password?.generated ? { generated_password: password.text } : undefined
}

export interface Prepared {
  /** What the settings ask to be made of the password. */
  derivation: VerifierOptions
  /** What one that was not generated is held against. */
  policy: PasswordPolicy
}

/**
 * Looks up first, judges then and derives last: what would be refused anyway costs no hash. Where the derivation had to
 * wait for its turn, the look-up is repeated with what it found before, which may be seconds old.
 */
export async function deriveFor<T extends Prepared>(
  queue: WorkQueue,
  password: NewPassword,
  lookUp: (before?: T) => Promise<T>,
): Promise<{ prepared: T; verifiers: Verifier[] }> {
  const first = await lookUp()
  if (!password.generated) await assertStrong(password.text, first.policy)
  return queue.run(async ({ waited }) => {
    const prepared = waited ? await lookUp(first) : first
    return { prepared, verifiers: await deriveVerifiers(password.text, prepared.derivation) }
  })
}
