/** How often a caller may do something in a minute; absent: as often as it likes. */
export interface RateLimits {
  reads?: number | undefined
  writes?: number | undefined
  /** Passwords that are hashed. */
  passwords?: number | undefined
  /** Names of which a caller limited to some domains learns whether they are taken, without taking them. */
  nameTaken?: number | undefined
  /** Client configurations that an address asks for without a token. */
  configurations?: number | undefined
}

export const windowSeconds = 60
