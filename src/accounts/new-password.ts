import { currentTrial } from '../dry-run/trial.ts'
import { problem, problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { WorkQueue } from '../work-queue.ts'
import { blankVerifiers } from './blank-verifiers.ts'
import { generatePassword, parsePassword } from './password.ts'
import { assertStrong, type PasswordPolicy } from './password-policy.ts'
import { parseSealingKey, type SealingKey } from './sealing-key.ts'
import { deriveVerifiers, type Verifier, type VerifierOptions } from './verifiers.ts'

export interface NewPassword {
  text: string
  /** Made here, so that the answer has to show it. */
  generated: boolean
  /** The answer shows it only encrypted to this key. */
  sealTo?: SealingKey
  /** Derived already, or made elsewhere: taken as they are. */
  verifiers?: Verifier[]
}

export interface PasswordMembers {
  password?: string
  generate_password?: boolean
  seal_password_to?: Record<string, unknown>
  no_password?: boolean
}

/** Refuses a body that makes a password known to its sender, where the token may only have it sealed. */
export function assertMayDeliver(subject: Subject, body: PasswordMembers): void {
  if (subject.passwordDelivery !== 'sealed') return
  const { password, generate_password, seal_password_to } = body
  if (password === undefined && (!generate_password || seal_password_to !== undefined)) return
  const detail =
    'The token may set passwords only sealed: send `generate_password: true` with `seal_password_to`.'
  throw problem('insufficient-scope', { detail })
}

/** What a body says about the password of a new account: that there is none, which one, or nothing. */
export function readFirstPassword(body: PasswordMembers): NewPassword | 'none' | undefined {
  if (!body.no_password) return readNewPassword(body)
  refusePassword({ ...body, no_password: false }, 'It cannot be sent together with no_password.')
  return 'none'
}

/** Refuses whatever the body says about a password. */
export function refusePassword(body: PasswordMembers, detail: string): void {
  const members = ['password', 'generate_password', 'seal_password_to', 'no_password'] as const
  const sent = members.find((member) => body[member] !== undefined && body[member] !== false)
  if (sent) throw problemAt('password-not-accepted', `/${sent}`, detail)
}

/** What a body says about a new password; undefined where it says nothing. */
export function readNewPassword(body: PasswordMembers): NewPassword | undefined {
  const { password, generate_password, seal_password_to } = body
  if (generate_password && password !== undefined) {
    throw problemAt(
      'password-not-accepted',
      '/password',
      'Send either password or generate_password, not both.',
    )
  }
  if (seal_password_to !== undefined && !generate_password) {
    const detail = 'Only a password that is made here is sealed: send generate_password: true.'
    throw problemAt('password-not-accepted', '/seal_password_to', detail)
  }
  if (generate_password) {
    const sealTo = seal_password_to && parseSealingKey(seal_password_to)
    return { text: generatePassword(), generated: true, ...(sealTo && { sealTo }) }
  }
  return password === undefined ? undefined : { text: parsePassword(password), generated: false }
}

export function requirePassword<T>(password: T | undefined): T {
  if (password) return password
  throw problem('password-required', {
    detail: 'Send password, or generate_password: true; an account without one is no_password: true.',
  })
}

/** What the answer shows in clear, once. */
export function toShow(
  password: NewPassword | 'none' | undefined,
): { generated_password: string } | undefined {
  if (password === 'none' || !password?.generated || password.sealTo) return undefined
  return { generated_password: password.text }
}

/** Those of the verifiers that the settings ask for. */
export function wantedOf(verifiers: Verifier[], { mechanisms }: VerifierOptions): Verifier[] {
  return verifiers.filter(({ mechanism }) => mechanism === 'ARGON2ID' || mechanisms.includes(mechanism))
}

export interface Prepared {
  /** What the settings ask to be made of the password. */
  derivation: VerifierOptions
  /** What one that was not generated is held against. */
  policy: PasswordPolicy
}

/**
 * Looks up first, judges then and derives last: what would be refused anyway costs no hash. Where the derivation had to
 * wait for its turn, the look-up is repeated with what it found before, which may be seconds old. A trial derives nothing.
 */
export async function deriveFor<T extends Prepared>(
  queue: WorkQueue,
  password: NewPassword | 'none',
  lookUp: (before?: T) => Promise<T>,
): Promise<{ prepared: T; verifiers: Verifier[] }> {
  const first = await lookUp()
  if (password === 'none') return { prepared: first, verifiers: [] }
  if (password.verifiers)
    return { prepared: first, verifiers: wantedOf(password.verifiers, first.derivation) }
  if (!password.generated) await assertStrong(password.text, first.policy)
  if (currentTrial()) return { prepared: first, verifiers: blankVerifiers(first.derivation) }
  return queue.run(async ({ waited }) => {
    const prepared = waited ? await lookUp(first) : first
    return { prepared, verifiers: await deriveVerifiers(password.text, prepared.derivation) }
  })
}
