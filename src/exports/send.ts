import { Readable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CompiledQuery } from 'kysely'
import type { TSchema } from 'typebox'
import { toProblem } from '../problem-details.ts'
import { problemAt } from '../problems.ts'
import { type Columns, csvHeader, csvLine, csvType } from './csv.ts'
import type { Exports } from './exports.ts'
import type { ListType } from './media-types.ts'
import type { Snapshot } from './snapshot.ts'

/** A list that can be given out whole. */
export interface WholeList<Row, Item> {
  /** In the order of the pages. */
  query: CompiledQuery
  toItem: (row: Row) => Item
  /** The named schema of an item: what it does not declare is left out, as on a page. */
  schema: TSchema
  columns: Columns<Item>
  /** Of the file. */
  name: string
}

interface Exchange {
  request: FastifyRequest
  reply: FastifyReply
  exports: Exports
  type: Exclude<ListType, 'application/json'>
}

/** Sends every row of one moment, a bit at a time as the client takes it. */
export async function sendWholeList<Row extends object, Item>(
  { request, reply, exports, type }: Exchange,
  list: WholeList<Row, Item>,
): Promise<FastifyReply> {
  refusePaging(request)
  reply.type(type === 'text/csv' ? csvType : type)
  if (type === 'text/csv') reply.header('content-disposition', `attachment; filename="${list.name}.csv"`)
  if (request.method === 'HEAD') return reply.send(Readable.from([])) // nothing is read for the headers
  const snapshot = await exports.open<Row>(request.subject, list.query)
  return reply.send(toStream(request, snapshot, toText(type, list, reply)))
}

/** How many there are, and from where, is for pages. */
function refusePaging({ url }: FastifyRequest): void {
  const parameters = new URL(url, 'http://here').searchParams
  for (const name of ['limit', 'cursor']) {
    if (parameters.has(name)) throw problemAt('invalid-request', `query/${name}`, 'is for pages of JSON only')
  }
}

interface Text<Row> {
  head: string
  lines: (rows: Row[]) => string
}

function toText<Row, Item>(
  type: Exchange['type'],
  { columns, toItem, schema }: WholeList<Row, Item>,
  reply: FastifyReply,
): Text<Row> {
  if (type === 'text/csv') {
    return {
      head: csvHeader(columns),
      lines: (rows) => rows.map((row) => csvLine(columns, toItem(row))).join(''),
    }
  }
  const stringify = reply.compileSerializationSchema(schema as Record<string, unknown>)
  return {
    head: '',
    lines: (rows) => rows.map((row) => `${stringify(toItem(row) as Record<string, unknown>)}\n`).join(''),
  }
}

function toStream<Row>(request: FastifyRequest, snapshot: Snapshot<Row>, { head, lines }: Text<Row>) {
  async function* chunks() {
    if (head !== '') yield Buffer.from(head)
    for await (const rows of snapshot.batches()) yield Buffer.from(lines(rows))
    await snapshot.close() // so that the next one finds the turn free when this one has ended
  }
  const stream = Readable.from(chunks(), { objectMode: false })
  stream.once('error', (error) => breakConnection(request, error))
  stream.once('close', () => void snapshot.close()) // at its end, and when the client has gone
  snapshot.onFailure((error) => stream.destroy(error))
  return stream
}

/**
 * What ends half-way must not look whole. HTTP/1.1 shows it by the last chunk that is missing (RFC 9112 §8); a proxy that
 * speaks HTTP/1.0 takes the end of the connection for the end of the list, unless it is reset.
 */
function breakConnection(request: FastifyRequest, error: Error): void {
  request.problemCode = toProblem(error as never).code
  const { socket } = request.raw
  if (socket instanceof TLSSocket) socket.destroy()
  else socket.resetAndDestroy?.()
}
