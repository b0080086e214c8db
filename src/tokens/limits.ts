import { type ProblemError, problem } from '../problems.ts'
import type { StoredToken } from './store.ts'

/** What a token may be allowed so many of in a day. */
export const fuses = ['deletes', 'locks', 'password_sets'] as const
export type Fuse = (typeof fuses)[number]

/** What was wanted of a limit that did not have as much left. */
export interface Overdraw {
  fuse: Fuse
  count: number
}

export type LimitName = `${Fuse}_per_day`
export const limitOf = (fuse: Fuse): LimitName => `${fuse}_per_day`

/** null: as many as it likes. */
export type Limits = Record<LimitName, number | null>

/** Those of a new token: at most the maker's, and these where nothing else is asked for. */
export function parseLimits(token: StoredToken | undefined, wish: Partial<Limits> = {}): Limits {
  const limits = fuses.map(limitOf).map((name) => [name, parseLimit(name, token?.[name] ?? null, wish[name])])
  return Object.fromEntries(limits)
}

function parseLimit(name: LimitName, own: number | null, wish: number | null | undefined): number | null {
  if (own !== null && wish !== undefined && wish !== null && wish > own) throw tooMuch(name, own)
  return wish ?? own
}

function tooMuch(name: LimitName, own: number): ProblemError {
  return problem('insufficient-scope', {
    detail: `Your token has the limit ${own} for \`${name}\`, and gives no higher one.`,
  })
}
