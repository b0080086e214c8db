import type { FastifyReply, FastifyRequest } from 'fastify'
import { problemAt } from './problems.ts'

/** Where a page begins: after this key, in the order of the list. */
export interface Position {
  after: string
  /** Carried from the first page to the last, so that all pages of one pass say the same. */
  asOf?: string
}

export interface Page<T> {
  items: T[]
  next: string | null
}

export function parseCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined
  try {
    const position: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'))
    if (isPosition(position)) return position
  } catch {} // falls through to the one answer for every damaged cursor
  throw problemAt('invalid-request', 'query/cursor', 'is not a cursor that this service gave out')
}

function isPosition(value: unknown): value is Position {
  const { after, asOf } = (value ?? {}) as Partial<Position>
  const isTime = asOf === undefined || (typeof asOf === 'string' && !Number.isNaN(Date.parse(asOf)))
  return typeof after === 'string' && !after.includes('\0') && isTime
}

/**
 * Cuts the rows of a query for `limit + 1` rows into a page: the one too many only tells that there is
 * a next page.
 */
export function toPage<T>(rows: T[], limit: number, keyOf: (row: T) => string, asOf?: string): Page<T> {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  if (rows.length <= limit || last === undefined) return { items, next: null }
  const position: Position = { after: keyOf(last), ...(asOf !== undefined && { asOf }) }
  return { items, next: Buffer.from(JSON.stringify(position)).toString('base64url') }
}

/** Repeats `next` as a Link header (RFC 8288), with the filters of the request. */
export function linkNext(request: FastifyRequest, reply: FastifyReply, next: string | null): void {
  if (next === null) return
  // the path alone: a request may name any host in absolute form (RFC 9112 §3.2.2)
  const { pathname: path, searchParams: parameters } = new URL(request.url, 'http://here')
  parameters.set('cursor', next)
  reply.header('link', `<${path}?${parameters}>; rel="next"`)
}
