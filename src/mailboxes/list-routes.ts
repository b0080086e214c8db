import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { visibleDomains } from '../domains/visible.ts'
import type { Exports } from '../exports/exports.ts'
import { chooseType } from '../exports/media-types.ts'
import { sendWholeList } from '../exports/send.ts'
import { parseMoment, readAsOf } from '../moments.ts'
import { linkNext, type Position, parseCursor, toPage } from '../pagination.ts'
import { listAnswer, problemResponses, wholeListText } from '../responses.ts'
import { ref } from '../schemas.ts'
import type { Subject } from '../subject.ts'
import { mailboxColumns } from './csv.ts'
import { compileMailboxes, listMailboxes, type MailboxFilter } from './list.ts'
import { MailboxListQuery } from './parameters.ts'
import { Mailbox, MailboxList } from './schemas.ts'
import { toMailbox } from './view.ts'

export const mailboxList: FastifyPluginAsyncTypebox<{ db: Db; exports: Exports }> = async (
  app,
  { db, exports },
) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listMailboxes',
        tags: ['mailboxes'],
        summary: 'List mailboxes',
        description: `In the order of their names; filters narrow each other. A limited caller sees those of its domains. To follow changes, poll with \`updated_since\` and send the \`as_of\` of the answer (of the whole list: its header \`as-of\`) at the next poll, and \`state=deleted\` for deletions. That shows changes of mailboxes; accounts and domains have an \`updated_at\` of their own. ${wholeListText}`,
        security: [{ bearer: ['mailboxes:read'] }],
        querystring: MailboxListQuery,
        response: { 200: listAnswer(MailboxList, 'Mailbox', 'as-of'), ...problemResponses('not-acceptable') },
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...query } = request.query
      const filter = toFilter(request.subject, query)
      const type = chooseType(request, reply)
      if (type !== 'application/json') {
        reply.header('as-of', await readAsOf(db)) // before the snapshot is taken
        return sendWholeList(
          { request, reply, exports, type },
          {
            query: compileMailboxes(db, filter),
            toItem: toMailbox,
            schema: ref(Mailbox),
            columns: mailboxColumns,
            name: 'mailboxes',
          },
        )
      }
      const position = parseCursor(cursor)
      const asOf = await asOfFor(db, query, position)
      const rows = await listMailboxes(db, { ...filter, limit, after: position?.after })
      const page = toPage(rows, limit, (row) => row.name, asOf)
      linkNext(request, reply, page.next)
      const items = page.items.map(toMailbox)
      return { items, next: page.next, ...(asOf !== undefined && { as_of: asOf }) }
    },
  )
}

/** All pages of one pass say what the first one said. */
async function asOfFor(db: Db, { updated_since }: Filters, position: Position | undefined) {
  return updated_since === undefined ? undefined : (position?.asOf ?? (await readAsOf(db)))
}

type Filters = Omit<MailboxListQuery, 'cursor' | 'limit'>

function toFilter(subject: Subject, query: Filters): MailboxFilter {
  const { domain, name, prefix, external_id, updated_since, ...filter } = query
  return {
    ...filter,
    name: name?.toLowerCase(),
    prefix: prefix?.toLowerCase(),
    external_id: external_id?.normalize('NFC'), // as parseFreeText kept it
    updatedSince: updated_since === undefined ? undefined : parseMoment(updated_since, 'query/updated_since'),
    domains: visibleDomains(subject, domain),
  }
}
