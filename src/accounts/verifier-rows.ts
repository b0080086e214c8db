import { type RawBuilder, sql } from 'kysely'
import type { ForeignScheme, Mechanism, Verifier } from './verifiers.ts'

/** The challenge–response mechanisms among them, for the column `mechanisms`. */
export function mechanismsOf(verifiers: Verifier[]): Mechanism[] {
  return verifiers.flatMap(({ mechanism }) => (mechanism === 'ARGON2ID' ? [] : [mechanism]))
}

/** As a row source `v (mechanism, scheme, verifier)`. */
export function verifierRows(verifiers: Verifier[]) {
  const kinds = verifiers.map((one) => one.mechanism)
  const schemes = verifiers.map((one) => one.scheme ?? null)
  const texts = verifiers.map((one) => one.verifier)
  return sql`unnest(${kinds}::text[], ${schemes}::text[], ${texts}::text[]) as v (mechanism, scheme, verifier)`
}

/**
 * Those of the mechanisms that are listed when the statement runs: one that was taken off the list since the verifiers
 * were derived must not come back.
 */
export function listedOf(verifiers: Verifier[], list: RawBuilder<unknown>) {
  return sql`array(select k from unnest(${mechanismsOf(verifiers)}::text[]) as k where k = any(${list}))`
}

/** Joins to an account `a` those of `verifierRows` that go with its mechanisms. */
export const isKept = sql`v.mechanism = any(a.mechanisms || 'ARGON2ID'::text)`

/** Where the password came as a hash that was made elsewhere. */
export function foreignSchemeOf(verifiers: Verifier[]): ForeignScheme | null {
  return verifiers.find(({ scheme }) => scheme !== undefined)?.scheme ?? null
}

/** When a password was set: now, or never where there is none. */
export function setAt(verifiers: Verifier[]) {
  return verifiers.length > 0 ? sql`now()` : sql`null::timestamptz`
}
