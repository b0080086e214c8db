import type { PasswordPolicy } from '../accounts/password-policy.ts'
import type { Address } from './address.ts'
import type { Ground } from './ground.ts'

/** What the password of a new account is held against; `addresses` are all that it may get. */
export function policyFor(
  { password_min_length: minLength }: Ground,
  addresses: readonly Address[],
  { display_name }: { display_name?: string | null },
): PasswordPolicy {
  return { minLength, people: addresses.map(({ name, domain }) => ({ name, domain, display_name })) }
}
