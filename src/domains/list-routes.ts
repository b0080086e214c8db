import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { answer, problemResponses } from '../responses.ts'
import { createMailboxCounts } from './mailbox-counts.ts'
import { DomainList, DomainListQuery } from './schemas.ts'
import { listDomains, toDomain } from './store.ts'

export const domainList: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  const mailboxCounts = createMailboxCounts(db)

  app.get(
    '',
    {
      schema: {
        operationId: 'listDomains',
        tags: ['domains'],
        summary: 'List domains',
        description: 'In the order of their names. A limited caller sees its own only.',
        security: [{ bearer: ['domains:read'] }],
        querystring: DomainListQuery,
        response: { 200: answer(DomainList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { cursor, ...options } = request.query
      const after = parseCursor(cursor)?.after
      const rows = await listDomains(db, request.subject.domains, { ...options, after })
      const page = toPage(rows, options.limit, (row) => row.name)
      const counts = await mailboxCounts(page.items)
      linkNext(request, reply, page.next)
      return {
        items: page.items.map((row) => toDomain(row, counts.get(row.name) ?? 0, request.subject)),
        next: page.next,
      }
    },
  )
}
