import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { visibleDomains } from '../domains/visible.ts'
import { parseDestination } from '../mailboxes/address.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { ProblemError } from '../problems.ts'
import { answer, problemResponses } from '../responses.ts'
import type { Subject } from '../subject.ts'
import { type AliasFilter, listAliases } from './list.ts'
import { AliasList, AliasListQuery } from './schemas.ts'
import { toAlias } from './store.ts'

export const aliasList: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listAliases',
        tags: ['aliases'],
        summary: 'List aliases',
        description:
          'In the order of their local parts, catch-alls first; filters narrow each other. A limited caller sees those of its domains.',
        security: [{ bearer: ['aliases:read'] }],
        querystring: AliasListQuery,
        response: { 200: answer(AliasList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const rows = await listAliases(db, toFilter(request.subject, request.query))
      const page = toPage(rows, request.query.limit, (row) => row.address)
      linkNext(request, reply, page.next)
      return { items: page.items.map(toAlias), next: page.next }
    },
  )
}

function toFilter(subject: Subject, query: AliasListQuery): AliasFilter {
  const { cursor, domain, target, prefix, limit } = query
  return {
    limit,
    visible: subject.domains,
    domains: visibleDomains(subject, domain),
    target: target === undefined ? undefined : storedForm(target),
    prefix: prefix?.toLowerCase(),
    after: parseCursor(cursor)?.after,
  }
}

/** What cannot be a target is none. */
function storedForm(target: string): string {
  try {
    return parseDestination(target, 'query/target')
  } catch (error) {
    if (error instanceof ProblemError) return target
    throw error
  }
}
