import { errors } from 'jose'

export const malformed = 'The token is malformed.'

/** What the caller may know; everything it says was found out with a good signature or needs none. */
export function explainRefusal(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token is expired. Get a new one.'
  if (error instanceof errors.JWTClaimValidationFailed)
    return claimRefusals[error.claim] ?? claimRefusals.other
  if (error instanceof errors.JOSEError) return refusals[error.code] ?? refusals.other
  return refusals.other
}

const claimRefusals = {
  aud: 'The token is made for another audience.',
  nbf: 'The token is not valid yet.',
  typ: 'The token is not an access token: its header has another typ.',
  other: 'The token lacks a claim that it needs, or has a wrong one: see iss, sub, jti, iat and exp.',
} as { [claim: string]: string; other: string }

const untrusted = 'The token is not signed by a key that this service trusts.'
const refusals = {
  ERR_JOSE_ALG_NOT_ALLOWED: 'The token is signed with an algorithm that is not accepted.',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'The token does not say in its header (kid) which key signed it.',
  ERR_JWKS_NO_MATCHING_KEY: untrusted,
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: untrusted,
  other: malformed,
} as { [code: string]: string; other: string }
