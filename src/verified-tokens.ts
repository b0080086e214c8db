import { hash } from 'node:crypto'
import type { JWTPayload } from 'jose'

type Verify = (token: string) => Promise<JWTPayload>

const remembered = 10_000

interface Verified {
  claims: JWTPayload
  until: number
}

/**
 * Checking a signature takes as long as everything else that a read does, and a client sends the same token with each
 * request. A good one is good until it expires, and for `seconds` at most where its issuer may withdraw the key; whether
 * it was revoked is asked anew each time (src/tokens/check.ts). No token is kept, only its hash.
 */
export function remembering(verify: Verify, { seconds }: { seconds: number }): Verify {
  const known = new Map<string, Verified>()
  return async (token) => {
    const key = hash('sha256', token, 'base64url')
    const earlier = known.get(key)
    if (earlier && Date.now() < earlier.until) return earlier.claims
    known.delete(key)
    const claims = await verify(token)
    const until = Math.min((claims.exp ?? 0) * 1000, Date.now() + seconds * 1000)
    if (known.size >= remembered) known.delete(known.keys().next().value!)
    known.set(key, { claims, until })
    return claims
  }
}
