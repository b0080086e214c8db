import type { FastifyReply, FastifyRequest } from 'fastify'
import { problem, problemAt } from './problems.ts'

/** The versions a client accepts: any, or these. undefined = it did not say. */
export type Precondition = '*' | readonly string[] | undefined

const entityTags = /^\s*(?:W\/)?"[\x21\x23-\x7e]*"(?:\s*,\s*(?:W\/)?"[\x21\x23-\x7e]*")*\s*$/

/** If-Match (RFC 9110 §13.1.1), compared strongly: a weak tag never matches. */
export function parseIfMatch(request: FastifyRequest): Precondition {
  const header = request.headers['if-match']
  if (header === undefined || header.trim() === '*') return header === undefined ? undefined : '*'
  if (!entityTags.test(header)) {
    throw problemAt(
      'invalid-request',
      'header/if-match',
      'must be * or a list of entity tags in double quotes',
    )
  }
  return [...header.matchAll(/(W\/)?"([^"]*)"/g)].filter(([, weak]) => !weak).map(([, , tag]) => tag ?? '')
}

/** If-None-Match: only `*` has a meaning here, and only where something may be created. */
export function mustNotExist(request: FastifyRequest): boolean {
  const header = request.headers['if-none-match']
  if (header === undefined) return false
  if (header.trim() === '*') return true
  throw problemAt('invalid-request', 'header/if-none-match', 'only * is supported')
}

export function requireVersion(precondition: Precondition, version: string): void {
  if (!meets(precondition, version)) throw problem('precondition-failed')
}

export function meets(precondition: Precondition, version: string): boolean {
  return precondition === undefined || precondition === '*' || precondition.includes(version)
}

/** The entity tag of a version (RFC 9110 §8.8.3). */
export function toETag(version: string): string {
  return `"${version}"`
}

export function setETag(reply: FastifyReply, version: string): void {
  reply.header('etag', toETag(version))
}
