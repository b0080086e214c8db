/** How often a caller may do something in a minute; absent: as often as it likes. */
export interface RateLimits {
  reads?: number | undefined
  writes?: number | undefined
  /** Passwords that are hashed. */
  passwords?: number | undefined
  /** Requests that are refused because the name is taken, of a caller that is limited to some domains. */
  nameTaken?: number | undefined
}

export const windowSeconds = 60
