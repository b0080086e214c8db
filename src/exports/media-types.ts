import type { FastifyReply, FastifyRequest } from 'fastify'
import { problem } from '../problems.ts'

/** What a list is given out as, the most usual first; all but JSON are the whole list. */
export const listTypes = ['application/json', 'application/x-ndjson', 'text/csv'] as const
export type ListType = (typeof listTypes)[number]

interface Range {
  pattern: string
  quality: number
}

/** The type that the client likes best (RFC 9110 §12.5.1), or 406. */
export function chooseType({ headers }: FastifyRequest, reply: FastifyReply): ListType {
  reply.header('vary', 'accept')
  const chosen = preferredType(headers.accept)
  if (chosen) return chosen
  throw problem('not-acceptable', { detail: `Accept one of ${listTypes.join(', ')}.` })
}

export function preferredType(accept = '*/*'): ListType | undefined {
  const ranges = accept.trim() === '' ? readRanges('*/*') : readRanges(accept)
  let best: { type: ListType; quality: number } | undefined
  for (const type of listTypes) {
    const quality = qualityOf(type, ranges)
    if (quality > (best?.quality ?? 0)) best = { type, quality }
  }
  return best?.type
}

/** Of the most specific range that has it, as the section says. */
function qualityOf(type: ListType, ranges: Range[]): number {
  const patterns = [type, `${type.split('/')[0]}/*`, '*/*']
  for (const wanted of patterns) {
    const found = ranges.find(({ pattern }) => pattern === wanted)
    if (found) return found.quality
  }
  return 0
}

function readRanges(accept: string): Range[] {
  return accept.split(',').map((text) => {
    const [pattern = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    return { pattern, quality: weight === undefined ? 1 : readWeight(weight) }
  })
}

const weightGrammar = /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/ // RFC 9110 §12.4.2

function readWeight(text: string): number {
  return weightGrammar.test(text) ? Number(text) : 0
}
