import type { ProblemCode } from './generated/problem-codes.gen.ts'
import type { Problem } from './generated/types.gen.ts'

/** Codes that a later version of the service adds are texts too. */
type Code = ProblemCode | (string & {})

/** A refused request. */
export class ProblemError extends Error {
  /** What to switch on, such as `name-taken`; undefined where something else than the service answered. */
  readonly code: Code | undefined
  readonly status: number
  /** The answer as it came; its `title` and `detail` are for people. */
  readonly problem: Problem
  /** For its headers; the body is read. */
  readonly response: Response

  constructor(problem: Problem, response: Response) {
    super(problem.detail === undefined ? problem.title : `${problem.title}: ${problem.detail}`)
    this.name = 'ProblemError'
    this.code = codeOf(problem)
    this.status = response.status
    this.problem = problem
    this.response = response
  }
}

/** Whether it was refused, and for one of these reasons where some are named. */
export function isProblem<const Codes extends Code[]>(
  error: unknown,
  ...codes: Codes
): error is ProblemError & (Codes extends [] ? unknown : { code: Codes[number] }) {
  if (!(error instanceof ProblemError)) return false
  return codes.length === 0 || (error.code !== undefined && codes.includes(error.code))
}

/** `undefined` is no answer at all: then the error is that of `fetch`. */
export function toError(error: unknown, response: Response | undefined): unknown {
  if (response === undefined || response.ok) return error
  return new ProblemError(isProblemDetails(error) ? error : describe(response), response)
}

/** The code of an answer whose body somebody else still reads. */
export async function readCode(response: Response): Promise<Code | undefined> {
  const body = await response
    .clone()
    .json()
    .catch(() => undefined)
  return isProblemDetails(body) ? codeOf(body) : undefined
}

function codeOf({ type }: Problem): Code | undefined {
  return /\/problems\/([a-z0-9-]+)$/.exec(type)?.[1]
}

function isProblemDetails(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && 'type' in body && 'title' in body
}

/** Of a proxy, say: a problem that has no type of its own (RFC 9457 §4.2.1). */
function describe({ status, statusText }: Response): Problem {
  return { type: 'about:blank', title: `HTTP ${status} ${statusText}`.trim(), status, instance: '' }
}
