import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { visibleDomains } from '../domains/visible.ts'
import { parseMoment, readAsOf } from '../moments.ts'
import { linkNext, type Position, parseCursor, toPage } from '../pagination.ts'
import { problemAt } from '../problems.ts'
import { answer, problemResponses } from '../responses.ts'
import type { Subject } from '../subject.ts'
import { type AuditFilter, listEvents, type Place } from './list.ts'
import { type AuditEvent, AuditEventList, AuditEventListQuery } from './schemas.ts'

export const auditEvents: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '',
    {
      schema: {
        operationId: 'listAuditEvents',
        tags: ['audit'],
        summary: 'List who changed what, and when',
        description:
          'One event for each change, the newest first; filters narrow each other. A limited caller sees those of its domains. To follow what happens, poll with the `as_of` of the first page of the last pass as `since`: none is missed, and one that is shown twice has the same `id`.',
        security: [{ bearer: ['audit:read'] }],
        querystring: AuditEventListQuery,
        response: { 200: answer(AuditEventList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { subject, query } = request
      const position = parseCursor(query.cursor)
      const asOf = position?.asOf ?? (await readAsOf(db))
      const rows = await listEvents(db, toFilter(subject, query, position))
      const page = toPage(rows, query.limit, keyOf, asOf)
      linkNext(request, reply, page.next)
      return { ...page, as_of: asOf }
    },
  )
}

function toFilter(subject: Subject, query: AuditEventListQuery, position: Position | undefined): AuditFilter {
  const { cursor: _, domain, object, since, until, ...filter } = query
  return {
    ...filter,
    object: object?.toLowerCase(),
    domains: visibleDomains(subject, domain),
    since: since === undefined ? undefined : parseMoment(since, 'query/since'),
    until: until === undefined ? undefined : parseMoment(until, 'query/until'),
    before: position && placeOf(position),
  }
}

function keyOf({ at, id }: AuditEvent): string {
  return `${at} ${id}`
}

const keyGrammar = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** PostgreSQL refuses days that a month does not have, which Date carries over. */
function isMoment(text: string): boolean {
  const time = Date.parse(text)
  return time >= 0 && new Date(time).toISOString().slice(0, 23) === text.slice(0, 23)
}

function placeOf({ after }: Position): Place {
  const [, at = '', id = ''] = keyGrammar.exec(after) ?? []
  if (isMoment(at)) return { at, id }
  throw problemAt('invalid-request', 'query/cursor', 'is not a cursor that this service gave out')
}
