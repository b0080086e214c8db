import type { FastifyReply, FastifyRequest } from 'fastify'
import { preferredMediaType } from '../accept.ts'
import { problem } from '../problems.ts'

/** What a list is given out as, the most usual first; all but JSON are the whole list. */
export const listTypes = ['application/json', 'application/x-ndjson', 'text/csv'] as const
export type ListType = (typeof listTypes)[number]

/** The type that the client likes best, or 406. */
export function chooseType({ headers }: FastifyRequest, reply: FastifyReply): ListType {
  reply.header('vary', 'accept')
  const chosen = preferredType(headers.accept)
  if (chosen) return chosen
  throw problem('not-acceptable', { detail: `Accept one of ${listTypes.join(', ')}.` })
}

export const preferredType = (accept?: string): ListType | undefined => preferredMediaType(accept, listTypes)
