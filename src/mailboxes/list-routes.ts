import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { readDomainName } from '../domains/name.ts'
import { parseMoment } from '../moment.ts'
import { linkNext, type Position, parseCursor, toPage } from '../pagination.ts'
import { answer, problemResponses } from '../responses.ts'
import type { Subject } from '../subject.ts'
import { listMailboxes, type MailboxFilter, readAsOf } from './list.ts'
import { MailboxListQuery } from './parameters.ts'
import { MailboxList } from './schemas.ts'
import { toMailbox } from './view.ts'

export const mailboxList: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listMailboxes',
        tags: ['mailboxes'],
        summary: 'List mailboxes',
        description:
          'In the order of their names; filters narrow each other. A limited caller sees those of its domains. To follow changes, poll with `updated_since` and send the `as_of` of the answer at the next poll (and `state=deleted` for deletions). That shows changes of mailboxes; accounts and domains have an `updated_at` of their own.',
        security: [{ bearer: ['mailboxes:read'] }],
        querystring: MailboxListQuery,
        response: { 200: answer(MailboxList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { subject, query } = request
      const position = parseCursor(query.cursor)
      const asOf = await asOfFor(db, query, position)
      const rows = await listMailboxes(db, toFilter(subject, query, position))
      const page = toPage(rows, query.limit, (row) => row.name, asOf)
      linkNext(request, reply, page.next)
      const items = page.items.map(toMailbox)
      return { items, next: page.next, ...(asOf !== undefined && { as_of: asOf }) }
    },
  )
}

/** All pages of one pass say what the first one said. */
async function asOfFor(db: Db, { updated_since }: MailboxListQuery, position: Position | undefined) {
  return updated_since === undefined ? undefined : (position?.asOf ?? (await readAsOf(db)))
}

function toFilter(subject: Subject, query: MailboxListQuery, position: Position | undefined): MailboxFilter {
  const { cursor: _, domain, name, prefix, external_id, updated_since, ...filter } = query
  return {
    ...filter,
    name: name?.toLowerCase(),
    prefix: prefix?.toLowerCase(),
    external_id: external_id?.normalize('NFC'), // as parseFreeText kept it
    updatedSince: updated_since === undefined ? undefined : parseMoment(updated_since, 'query/updated_since'),
    domains: domainsFor(subject, domain),
    after: position?.after,
  }
}

/** A domain that is not the caller's, or cannot be one, gives an empty list like one that has no mailboxes. */
function domainsFor({ domains }: Subject, wanted: string | undefined): MailboxFilter['domains'] {
  if (wanted === undefined) return domains
  const outcome = readDomainName(wanted)
  if ('fault' in outcome) return []
  return domains === '*' || domains.includes(outcome.name) ? [outcome.name] : []
}
