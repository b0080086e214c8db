import type { FastifyReply, FastifyRequest } from 'fastify'
import { subjectOfToken } from '../keys.ts'
import { type ProblemError, problem } from '../problems.ts'
import { logSecurityEvent } from '../security-events.ts'
import type { Subject } from '../subject.ts'
import { windowSeconds } from './limits.ts'

/** The state of a budget of one caller. */
export interface Balance {
  name: string
  limit: number
  remaining: number
  /** Until it is full again. */
  seconds: number
}

/** Whose budget it is: a new token of the same subject brings no new one, nor do the tokens that a token makes. */
export function payerOf({ issuer, id, token }: Subject): { issuer: string; id: string } {
  const first = token?.ancestors[0]
  return { issuer, id: first === undefined ? id : subjectOfToken(first) }
}

export function ownerOf(subject: Subject): string {
  const { issuer, id } = payerOf(subject)
  return `${issuer}\n${id}`
}

/** draft-ietf-httpapi-ratelimit-headers; a request may count against more budgets than one. */
export function showBalance(reply: FastifyReply, { name, limit, remaining, seconds }: Balance): void {
  append(reply, 'ratelimit-policy', `"${name}";q=${limit};w=${windowSeconds}`)
  append(reply, 'ratelimit', `"${name}";r=${remaining};t=${seconds}`)
}

function append(reply: FastifyReply, header: string, item: string): void {
  const before = reply.getHeader(header)
  reply.header(header, before === undefined ? item : `${before}, ${item}`)
}

export function tooMany(
  request: FastifyRequest,
  { name, limit, seconds }: Balance,
  what: string,
): ProblemError {
  logSecurityEvent(request, 'rate-limited', 'a caller has used up a budget', { budget: name })
  const retryAfterSeconds = Math.max(1, seconds)
  const detail = `At most ${limit} ${what} a minute. Nothing was changed; try again after ${retryAfterSeconds} seconds.`
  return problem('too-many-requests', { detail, retryAfterSeconds })
}
