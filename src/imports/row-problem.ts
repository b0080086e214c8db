import { catalogue } from '../catalogue.ts'
import type { ProblemError } from '../problems.ts'

/** What the single call would have answered, but for the number of a request. */
export function toRowProblem({ code, detail, errors, conflict }: ProblemError) {
  return {
    type: `/problems/${code}`,
    title: catalogue[code].title,
    status: catalogue[code].status,
    ...(detail !== undefined && { detail }),
    ...(errors && { errors }),
    ...(conflict && { conflict }),
  }
}
