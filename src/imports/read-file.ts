import { createHash } from 'node:crypto'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CsvError, parse } from 'csv-parse'
import { type ProblemError, problem, problemAt } from '../problems.ts'
import { SentRow } from './schemas.ts'
import type { FileRow } from './sent-rows.ts'

export type Format = 'csv' | 'ndjson'

const maxOctets = 1024 ** 3
const maxRowOctets = 64 * 1024 // as much as the body of a single call

/** The rows of a file as it comes in, and at its end the digest of all of it. Never more of it in memory than a few rows. */
export async function* readFile(
  file: Readable,
  format: Format,
  digest: (octets: Buffer) => void,
): AsyncGenerator<FileRow> {
  const guarded = guard()
  const hash = createHash('sha256')
  guarded.on('data', (chunk: Buffer) => hash.update(chunk))
  const rows = format === 'csv' ? csvRows : ndjsonRows
  const piping = pipeline(file, guarded)
  piping.catch(() => {}) // whoever reads the rows is told
  yield* rows(guarded)
  await piping
  digest(hash.digest())
}

/** Refuses what is no UTF-8, and too much of it. */
function guard(): Transform {
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  let octets = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      octets += chunk.length
      if (octets > maxOctets) done(problem('content-too-large', { detail: 'Send at most 1 GiB at once.' }))
      else
        done(
          faultIn(() => void utf8.decode(chunk, { stream: true })),
          chunk,
        )
    },
    flush(done) {
      done(faultIn(() => void utf8.decode()))
    },
  })
}

function faultIn(decode: () => unknown): ProblemError | null {
  try {
    decode()
    return null
  } catch {
    return problem('invalid-request', { detail: 'The file is not UTF-8. Convert it before sending.' })
  }
}

async function* ndjsonRows(file: Readable): AsyncGenerator<FileRow> {
  let line = 0
  for await (const text of lines(file)) {
    line += 1
    const trimmed = text.toString('utf8').trim()
    if (trimmed !== '') yield { line, members: parseJson(trimmed, line) }
  }
}

async function* lines(file: Readable): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of file as AsyncIterable<Buffer>) {
    let from = 0
    let text = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    for (let end = text.indexOf(10); end >= 0; end = text.indexOf(10, from)) {
      yield text.subarray(from, end)
      from = end + 1
    }
    text = text.subarray(from)
    if (text.length > maxRowOctets) throw problem('content-too-large', { detail: tooLong })
    rest = Buffer.from(text)
  }
  if (rest.length > 0) yield rest
}

const tooLong = 'A row has at most 64 KiB.'

function parseJson(text: string, line: number): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''))
  } catch {
    throw malformed(line, 'is not JSON') // without the parser's words, which repeat what it read
  }
}

function malformed(line: number, detail: string): ProblemError {
  return problemAt('invalid-request', `line/${line}`, detail)
}

/** RFC 4180, with a header row. */
async function* csvRows(file: Readable): AsyncGenerator<FileRow> {
  const parser = parse({ bom: true, info: true, skip_empty_lines: true, max_record_size: maxRowOctets })
  const piping = pipeline(file, parser).catch((error: Error) => parser.destroy(error))
  let columns: Column[] | undefined
  let counted = 0 // too many: the parser counts a CRLF within a cell as two lines
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRecord>) {
      const { breaks, crlfs } = lineBreaksIn(record)
      counted += crlfs
      if (columns) yield { line: info.lines - counted - breaks, members: toMembers(columns, record) }
      else columns = readHeader(record)
    }
  } catch (error) {
    throw error instanceof CsvError ? malformed(lineOf(error), describeFault(error)) : error
  }
  await piping
  if (!columns) throw problemAt('invalid-request', 'line/1', 'is to be the header: the names of the columns')
}

interface CsvRecord {
  record: string[]
  info: { lines: number }
}

/** The row is counted at its end. */
function lineBreaksIn(record: string[]): { breaks: number; crlfs: number } {
  const found = record.flatMap((cell) => cell.match(/\r\n|\n|\r/g) ?? [])
  return { breaks: found.length, crlfs: found.filter((one) => one.length === 2).length }
}

function lineOf({ lines }: CsvError & { lines?: unknown }): number {
  return typeof lines === 'number' ? lines : 1
}

function describeFault({ code }: CsvError): string {
  if (code === 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH') return 'does not have as many cells as the header'
  if (code === 'CSV_MAX_RECORD_SIZE') return tooLong
  return 'is not CSV (RFC 4180): look for a quotation mark that is not closed or not doubled'
}

interface Column {
  name: string
  read(cell: string): unknown
}

const readers: Record<string, (cell: string) => unknown> = {
  ...Object.fromEntries(
    [
      'create_account',
      'no_password',
      'keep_copy',
      'hold',
      'allow_role_name',
      'locked',
      'keep_old_as_alias',
    ].map((name) => [name, (cell: string) => ({ true: true, false: false })[cell.toLowerCase()] ?? cell]),
  ),
  quota_bytes: (cell) => (/^\d{1,16}$/.test(cell) ? Number(cell) : cell),
  forward_to: (cell) => cell.split(/[\s,]+/).filter((word) => word !== ''),
}

const known = new Set(Object.keys(SentRow.properties).filter((name) => name !== 'account'))

function readHeader(cells: string[]): Column[] {
  const names = cells.map((cell) => cell.trim())
  const unknown = names.findIndex((name) => !known.has(name))
  if (unknown >= 0)
    throw malformed(1, `names in column ${unknown + 1} what is none of: ${[...known].join(', ')}`)
  if (new Set(names).size < names.length) throw malformed(1, 'names a column twice')
  if (!names.includes('address')) throw malformed(1, 'names no column address')
  return names.map((name) => ({ name, read: readers[name] ?? ((cell) => cell) }))
}

/** An empty cell is an absent member. */
function toMembers(columns: Column[], cells: string[]): Record<string, unknown> {
  const members: Record<string, unknown> = {}
  for (const [i, { name, read }] of columns.entries()) {
    const cell = cells[i]!
    if (cell !== '') members[name] = read(cell)
  }
  return members
}
