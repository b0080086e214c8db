import { hash } from 'node:crypto'

export interface VerifiedTokens<T> {
  get(token: string): T | undefined
  /** Until its `exp`, in seconds since 1970 (RFC 7519 §4.1.4), and for so many seconds at most. */
  keep(token: string, value: T, limits: { exp: number | undefined; seconds: number }): T
}

const remembered = 10_000

/**
 * Checking a signature takes as long as everything else that a read does, and a client sends the same token with each
 * request. No token is kept, only its hash.
 */
export function createVerifiedTokens<T>(): VerifiedTokens<T> {
  const known = new Map<string, { value: T; until: number }>()
  const keyOf = (token: string) => hash('sha256', token, 'base64url')
  return {
    get(token) {
      const key = keyOf(token)
      const verified = known.get(key)
      if (verified && Date.now() < verified.until) return verified.value
      known.delete(key)
      return undefined
    },
    keep(token, value, { exp = 0, seconds }) {
      const key = keyOf(token)
      known.delete(key)
      if (known.size >= remembered) known.delete(known.keys().next().value!)
      known.set(key, { value, until: Math.min(exp * 1000, Date.now() + seconds * 1000) })
      return value
    },
  }
}
