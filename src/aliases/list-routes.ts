import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { visibleDomains } from '../domains/visible.ts'
import type { Exports } from '../exports/exports.ts'
import { chooseType } from '../exports/media-types.ts'
import { sendWholeList } from '../exports/send.ts'
import { parseDestination } from '../mailboxes/address.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { ProblemError } from '../problems.ts'
import { listAnswer, problemResponses, wholeListText } from '../responses.ts'
import { ref } from '../schemas.ts'
import type { Subject } from '../subject.ts'
import { aliasCsvColumns } from './csv.ts'
import { type AliasFilter, compileAliases, listAliases } from './list.ts'
import { Alias, AliasList, AliasListQuery } from './schemas.ts'
import { toAlias } from './store.ts'

export const aliasList: FastifyPluginAsyncTypebox<{ db: Db; exports: Exports }> = async (
  app,
  { db, exports },
) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listAliases',
        tags: ['aliases'],
        summary: 'List aliases',
        description: `In the order of their local parts, catch-alls first; filters narrow each other. A limited caller sees those of its domains. ${wholeListText}`,
        security: [{ bearer: ['aliases:read'] }],
        querystring: AliasListQuery,
        response: { 200: listAnswer(AliasList, 'Alias'), ...problemResponses('not-acceptable') },
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...query } = request.query
      const filter = toFilter(request.subject, query)
      const type = chooseType(request, reply)
      if (type !== 'application/json') {
        return sendWholeList(
          { request, reply, exports, type },
          {
            query: compileAliases(db, filter),
            toItem: toAlias,
            schema: ref(Alias),
            columns: aliasCsvColumns,
            name: 'aliases',
          },
        )
      }
      const rows = await listAliases(db, { ...filter, limit, after: parseCursor(cursor)?.after })
      const page = toPage(rows, limit, (row) => row.address)
      linkNext(request, reply, page.next)
      return { items: page.items.map(toAlias), next: page.next }
    },
  )
}

function toFilter(
  subject: Subject,
  { domain, target, prefix }: Omit<AliasListQuery, 'cursor' | 'limit'>,
): AliasFilter {
  return {
    visible: subject.domains,
    domains: visibleDomains(subject, domain),
    target: target === undefined ? undefined : storedForm(target),
    prefix: prefix?.toLowerCase(),
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
