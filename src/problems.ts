import { catalogue, type ProblemCode } from './catalogue.ts'

/** One member of a request that is wrong; `pointer` is an RFC 6901 JSON pointer into the body, or the name of a parameter. */
export interface ProblemPart {
  pointer: string
  detail: string
}

/** The object a request collided with; only ever given to a caller that may read it. */
export interface Conflict {
  kind: 'domain' | 'mailbox' | 'account' | 'alias'
  address: string
  purge_at?: Date | null
}

export interface ProblemMembers {
  detail?: string
  errors?: ProblemPart[]
  conflict?: Conflict
  /** Goes out as the Retry-After header. */
  retryAfterSeconds?: number
  cause?: unknown
}

/** The one error class: a code of the catalogue, and what a client may be told besides. */
export class ProblemError extends Error {
  readonly code: ProblemCode
  readonly detail: string | undefined
  readonly errors: ProblemPart[] | undefined
  readonly conflict: Conflict | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: ProblemCode, members: ProblemMembers = {}) {
    super(members.detail ?? catalogue[code].title, { cause: members.cause })
    this.name = 'ProblemError'
    this.code = code
    this.detail = members.detail
    this.errors = members.errors
    this.conflict = members.conflict
    this.retryAfterSeconds = members.retryAfterSeconds
  }
}

export function problem(code: ProblemCode, members?: ProblemMembers): ProblemError {
  return new ProblemError(code, members)
}

/** A problem with a single wrong member. */
export function problemAt(code: ProblemCode, pointer: string, detail: string): ProblemError {
  return new ProblemError(code, { detail, errors: [{ pointer, detail }] })
}
