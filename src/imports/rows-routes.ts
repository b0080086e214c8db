import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Db } from '../database.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { problemAt } from '../problems.ts'
import { answer, problemResponses } from '../responses.ts'
import { type ImportRow, ImportRowList, ImportRowListQuery } from './row-schemas.ts'
import { csvHeader, toCsvLine } from './rows-csv.ts'
import { ImportParams } from './schemas.ts'
import { getImport, type ImportView, listRows, parseImportId, type RowFilter } from './store.ts'

const page = answer(ImportRowList, 'A page; or, as CSV, all rows from the cursor on.', 'link')

export const importRows: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/:import/rows',
    {
      schema: {
        operationId: 'listImportRows',
        tags: ['imports'],
        summary: 'List the rows of an import, with their outcome',
        description:
          'In the order of the file. With `accept: text/csv` all of them at once; there, a cell that a spreadsheet would take for a formula has an apostrophe before it.',
        security: [{ bearer: ['imports:write'] }],
        params: ImportParams,
        querystring: ImportRowListQuery,
        response: {
          200: { ...page, content: { ...page.content, 'text/csv': { schema: Type.String() } } },
          ...problemResponses('import-not-found'),
        },
      },
    },
    async (request, reply) => {
      const { cursor, limit, status } = request.query
      const of = await getImport(db, parseImportId(request.params.import), request.subject.domains)
      const after = parseLine(parseCursor(cursor)?.after)
      if (wantsCsv(request.headers.accept)) {
        reply.type('text/csv; charset=utf-8')
        return reply.send(Readable.from(csv(db, of, { status, after })) as never)
      }
      const rows = await listRows(db, of, { status, after, limit })
      const { items, next } = toPage(rows, limit, ({ line }) => String(line))
      linkNext(request, reply, next)
      return { items, next }
    },
  )
}

/** RFC 9110 §12.5.1; whoever does not say gets JSON. */
function wantsCsv(accept = ''): boolean {
  return /(^|,)\s*text\/csv\s*(;|,|$)/i.test(accept) && !/application\/json/i.test(accept)
}

function parseLine(after: string | undefined): number {
  if (after === undefined) return 0
  const line = Number(after)
  if (Number.isSafeInteger(line) && line >= 0 && line < 2 ** 31) return line
  throw problemAt('invalid-request', 'query/cursor', 'is not a cursor that this service gave out')
}

const batch = 1000

async function* csv(db: Db, of: ImportView, { status, after }: Omit<RowFilter, 'limit'>) {
  yield csvHeader
  for (let rows: ImportRow[] | undefined, from = after; ; from = rows[batch - 1]!.line) {
    rows = await listRows(db, of, { status, after: from, limit: batch })
    yield rows.slice(0, batch).map(toCsvLine).join('')
    if (rows.length <= batch) return
  }
}
