import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { sql } from 'kysely'
import Type, { type Static } from 'typebox'
import type { Db } from '../database.ts'
import { createCounts } from '../large-counts.ts'
import { problem } from '../problems.ts'
import { answer, problemResponses } from '../responses.ts'
import { bytes, strict, Timestamp } from '../schemas.ts'
import type { DomainName } from './name.ts'
import { requested } from './routes.ts'
import { DomainParams } from './schemas.ts'

export const DomainStatistics = strict(
  {
    mailboxes: Type.Integer({ minimum: 0, description: 'Active ones.' }),
    messages: Type.Integer({ minimum: 0, description: 'In all of them.' }),
    bytes: bytes('In all of them.'),
    as_of: Timestamp,
  },
  {
    $id: 'DomainStatistics',
    description:
      'Of a large domain up to a minute old, or as old as `as_of` says while they are being counted again.',
    examples: [{ mailboxes: 12, messages: 640, bytes: 9_120_334, as_of: '2026-11-24T08:00:00.000Z' }],
  },
)
type DomainStatistics = Static<typeof DomainStatistics>

const largeDomain = 1_000

export const domainStatistics: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  const statistics = createDomainStatistics(db)

  app.get(
    '/:domain/statistics',
    {
      schema: {
        operationId: 'getDomainStatistics',
        tags: ['domains'],
        summary: 'How many mailboxes a domain has, and what they hold',
        security: [{ bearer: ['domains:read'] }],
        params: DomainParams,
        response: {
          200: answer(DomainStatistics, 'The statistics.'),
          ...problemResponses('domain-not-found'),
        },
      },
    },
    (request) => statistics(requested(request.subject, request.params.domain)),
  )
}

function createDomainStatistics(db: Db): (name: DomainName) => Promise<DomainStatistics> {
  const counts = createCounts(db, {
    isLarge: (key) => isLarge(db, nameIn(key)),
    count: (tx, key) => count(tx, nameIn(key)),
  })
  return async (name) => {
    const { created_at } = await getLive(db, name) // only the counts may be old
    return counts(`${name} ${created_at.toISOString()}`) // one that is made anew may have another holder
  }
}

const nameIn = (key: string) => key.split(' ')[0]!

async function isLarge(db: Db, name: string): Promise<boolean> {
  const { rows } = await sql<{ mailboxes: number }>`
    select count(*) as mailboxes from (
      select from app.mailboxes as m where m.domain = ${name} and m.state = 'active' limit ${largeDomain}
    ) as m`.execute(db)
  return rows[0]?.mailboxes === largeDomain
}

function getLive(db: Db, name: DomainName): Promise<{ created_at: Date }> {
  return db
    .selectFrom('domains')
    .select('created_at')
    .where('name', '=', name)
    .where('state', '=', 'active')
    .executeTakeFirstOrThrow(() => problem('domain-not-found'))
}

async function count(db: Db, name: string): Promise<DomainStatistics> {
  const { rows } = await sql<DomainStatistics>`
    select t.mailboxes, t.messages, t.bytes, now() as as_of
    from app.domains as d cross join lateral (
      select count(*) as mailboxes, coalesce(sum(u.messages), 0)::bigint as messages, coalesce(sum(u.bytes), 0)::bigint as bytes
      from app.mailboxes as m left join mail.usage as u on u.username = m.name || '@' || m.domain
      where m.domain = d.name and m.state = 'active'
    ) as t
    where d.name = ${name} and d.state = 'active'`.execute(db)
  if (rows[0]) return rows[0]
  throw problem('domain-not-found')
}
