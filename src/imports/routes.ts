import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { isUtf8 } from '../bodies.ts'
import type { Db } from '../database.ts'
import { rekey } from '../idempotency/key.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import type { InstallationKeys } from '../keys.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { problem, problemAt } from '../problems.ts'
import { ownerOf } from '../rate-limits/refusal.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { createSlots } from '../slots.ts'
import type { Format } from './read-file.ts'
import { discard, receive } from './receive.ts'
import { Import, ImportCreateQuery, ImportList, ImportListQuery, ImportParams } from './schemas.ts'
import {
  cancelImport,
  getImport,
  type ImportView,
  listImports,
  parseImportId,
  queueImport,
  toImport,
} from './store.ts'

export interface ImportOptions {
  db: Db
  keys: InstallationKeys
}

/** Each takes a share of the processor, of the pool and of the disk for as long as it comes in. */
const uploads = { ofAll: 8, ofCaller: 4, what: 'uploads' }

const file = (description: string) => Type.Unsafe<unknown>({ description })

const columns =
  '`address`, `operation` (`create`, `ensure` (default), `lock`, `unlock`, `set`, `delete`, `restore`, `rename`), of `create` and `ensure` the members of a mailbox creation but for generated passwords (`display_name`, `external_id`, `login_from` and `login_until` stand for those of `account`) and `password_hash`, of `set` `locked`, `quota_bytes`, `display_name` and `external_id`, of `rename` `new_address`, `keep_old_as_alias` and `allow_role_name`'

const body = {
  content: {
    'text/csv': {
      schema: file(
        `RFC 4180 in UTF-8, with a header row. An empty cell is an absent member, \`forward_to\` a list parted by spaces. The columns: ${columns}.`,
      ),
    },
    'application/x-ndjson': {
      schema: file(`A JSON object a line, also with the object \`account\`. The members: ${columns}.`),
    },
  },
}

function toAccepted(row: ImportView): Answer<Import> {
  return { status: 202, location: `/v1/imports/${row.id}`, body: toImport(row) }
}

export const imports: FastifyPluginAsyncTypebox<ImportOptions> = async (app, { db, keys }) => {
  const enter = createSlots(uploads)
  const receiveOne = async (request: FastifyRequest, reply: FastifyReply) => {
    try {
      const format = formatOf(request)
      const leave = enter(ownerOf(request.subject))
      return await receive({ db, keys }, request as never, format).finally(leave)
    } catch (error) {
      reply.header('connection', 'close') // what is still coming in is not read
      throw error
    }
  }
  app.addContentTypeParser(['text/csv', 'application/x-ndjson'], (request, payload, done) => {
    if (isUtf8(request.headers['content-type'])) done(null, payload)
    else done(problem('unsupported-media-type', { detail: 'Send the file in UTF-8.' }))
  })

  app.post(
    '',
    {
      config: { triesItself: true, slowBody: true },
      schema: {
        operationId: 'createImport',
        tags: ['imports'],
        summary: 'Do many rows as a job',
        description:
          'A file of rows, up to 1 GiB, each of which does what the single call would, by the same rules and in the rights of the caller, who needs the scope of each operation besides. The file is read to its end first, so that one that is malformed changes nothing; then the rows are done one after the other, in the background, and go on after a restart. A `password_hash` gives a new account the password that it had elsewhere; neither it nor `password` touches an account that exists. A row that is as asked already is `unchanged`, so that a file can simply be sent again. With `dry_run=true` every collision is listed first.',
        security: [{ bearer: ['imports:write'] }],
        querystring: ImportCreateQuery,
        body,
        response: {
          202: answer(Import, 'Accepted: `location` tells how far it is.', 'location'),
          ...bodyProblemResponses(),
        },
      },
    },
    async (request, reply) => {
      const received = await receiveOne(request as FastifyRequest, reply)
      try {
        rekey(request as FastifyRequest, keys, received.digest)
        const shown = await answerOnce({ db, request, reply } as never, toAccepted, async (writer) => {
          const queued = await writer.transaction((tx) => queueImport(tx, received.id))
          return queued!
        })
        if (reply.hasHeader('idempotency-replayed')) await discard(db, received.id)
        return shown
      } catch (error) {
        await discard(db, received.id)
        throw error
      }
    },
  )

  app.get(
    '',
    {
      schema: {
        operationId: 'listImports',
        tags: ['imports'],
        summary: 'List imports',
        description:
          'The newest first; they are kept for 30 days after their end. A limited caller sees those that were made with none but its domains.',
        security: [{ bearer: ['imports:write'] }],
        querystring: ImportListQuery,
        response: { 200: answer(ImportList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { cursor, limit } = request.query
      const after = parsePosition(parseCursor(cursor)?.after)
      const rows = await listImports(db, { visible: request.subject.domains, after, limit })
      const page = toPage(rows, limit, ({ created_at, id }) => `${created_at.toISOString()} ${id}`)
      linkNext(request, reply, page.next)
      return { items: page.items.map(toImport), next: page.next }
    },
  )

  app.get(
    '/:import',
    {
      schema: {
        operationId: 'getImport',
        tags: ['imports'],
        summary: 'Get an import: how far it is',
        security: [{ bearer: ['imports:write'] }],
        params: ImportParams,
        response: { 200: answer(Import, 'The import.'), ...problemResponses('import-not-found') },
      },
    },
    async ({ params, subject }) =>
      toImport(await getImport(db, parseImportId(params.import), subject.domains)),
  )

  app.delete(
    '/:import',
    {
      schema: {
        operationId: 'cancelImport',
        tags: ['imports'],
        summary: 'Cancel an import',
        description:
          'What is done stays done; the rows that are left are skipped, and their passwords removed. One that has ended stays as it is.',
        security: [{ bearer: ['imports:write'] }],
        params: ImportParams,
        response: { 204: noContent('It has ended.'), ...bodyProblemResponses('import-not-found') },
      },
    },
    async ({ params, subject }, reply) => {
      const id = parseImportId(params.import)
      await db.transaction().execute((tx) => cancelImport(tx, id, subject.domains))
      reply.code(204)
    },
  )
}

function formatOf({ headers, body }: FastifyRequest): Format {
  if (typeof (body as { pipe?: unknown } | undefined)?.pipe !== 'function')
    throw problemAt('invalid-request', '', 'Send the rows as text/csv or application/x-ndjson.')
  return headers['content-type']!.toLowerCase().startsWith('text/csv') ? 'csv' : 'ndjson'
}

function parsePosition(after: string | undefined): { createdAt: Date; id: string } | undefined {
  if (after === undefined) return undefined
  const [time = '', id = ''] = after.split(' ')
  const createdAt = new Date(time)
  if (!Number.isNaN(createdAt.getTime())) return { createdAt, id: parseCursorId(id) }
  throw damaged()
}

function parseCursorId(id: string): string {
  try {
    return parseImportId(id)
  } catch {
    throw damaged()
  }
}

const damaged = () =>
  problemAt('invalid-request', 'query/cursor', 'is not a cursor that this service gave out')
