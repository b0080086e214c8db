import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { commandLine } from './cli/command-line.ts'
import type { Import } from './imports/schemas.ts'

const usage = `Sends a file of rows to the service, shows how far it is, and what became of the rows.

  ${commandLine('import')} FILE [--dry-run] [--on-error stop]

  FILE         Its name ends in .csv (with a header row) or in .ndjson.
  --dry-run    Only try.
  --on-error   stop: the first row that is refused ends the import.

MAILWRIGHT_URL says where the service is (default http://127.0.0.1:8080), MAILWRIGHT_TOKEN with which token to call it:
it needs imports:write and the scopes of the rows. Ends with 1 where a row was refused, and prints those rows as CSV.`

const { MAILWRIGHT_URL: service = 'http://127.0.0.1:8080', MAILWRIGHT_TOKEN: token } = process.env
const types: Record<string, string> = {
  csv: 'text/csv',
  ndjson: 'application/x-ndjson',
  jsonl: 'application/x-ndjson',
}

interface Refusal {
  title: string
  detail?: string
  errors?: { pointer: string; detail: string }[]
}

async function call(path: string, init: RequestInit & { duplex?: 'half' } = {}): Promise<Response> {
  const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${token}` }
  const response = await fetch(new URL(path, service), { ...init, headers })
  if (response.ok) return response
  const refusal = (await response.json().catch(() => ({ title: response.statusText }))) as Refusal
  const { title, detail, errors = [] } = refusal
  const parts = errors.map((error) => `${error.pointer}: ${error.detail}`)
  throw new Error(
    [`${response.status} ${title}`, ...(detail && parts.length === 0 ? [detail] : parts)].join('\n'),
  )
}

async function sendFile(file: string, query: URLSearchParams): Promise<Import> {
  const type = types[file.split('.').at(-1)!.toLowerCase()]
  if (!type) throw new Error('The name of the file ends neither in .csv nor in .ndjson.')
  const { size } = await stat(file)
  let sent = 0
  const source = createReadStream(file).on('data', (chunk) => {
    sent += chunk.length
    show('sending', sent / size)
  })
  const body = Readable.toWeb(source) as unknown as ReadableStream
  const init = { method: 'POST', headers: { 'content-type': type }, body, duplex: 'half' as const }
  return (await (await call(`/v1/imports?${query}`, init)).json()) as Import
}

async function follow({ id }: Import): Promise<Import> {
  for (;;) {
    const now = (await (await call(`/v1/imports/${id}`)).json()) as Import
    const left = now.seconds_left === null ? '' : `, ${now.seconds_left} s left`
    show(`${now.rows_done} of ${now.rows} rows${left}`, now.rows === 0 ? 1 : now.rows_done / now.rows)
    if (now.finished_at !== null) return now
    await sleep(500)
  }
}

const width = 30

/** On a terminal alone: a log has no use for it. */
function show(what: string, part: number): void {
  if (!process.stderr.isTTY) return
  const filled = Math.round(Math.min(1, part) * width)
  process.stderr.write(`\r[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${what}\u001b[K`)
}

async function printRefused({ id }: Import): Promise<void> {
  const { body } = await call(`/v1/imports/${id}/rows?status=failed`, { headers: { accept: 'text/csv' } })
  for await (const chunk of body!) process.stdout.write(chunk)
}

async function importFile(args: string[]): Promise<void> {
  const options = {
    'dry-run': { type: 'boolean' },
    'on-error': { type: 'string' },
    help: { type: 'boolean' },
  } as const
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [file] = positionals
  if (values.help || file === undefined) {
    console.log(usage)
    return
  }
  if (!token) throw new Error(`MAILWRIGHT_TOKEN is not set: ${commandLine('token')} prints one.`)
  const query = new URLSearchParams({
    dry_run: String(values['dry-run'] ?? false),
    on_error: values['on-error'] ?? 'continue',
  })
  const ended = await follow(await sendFile(file, query))
  if (process.stderr.isTTY) process.stderr.write('\n')
  const counts = Object.entries(ended.counts).filter(([, count]) => count > 0)
  console.error(
    [ended.dry_run ? 'tried' : ended.state, ...counts.map(([what, count]) => `${count} ${what}`)].join(', '),
  )
  if (ended.problem?.detail) console.error(ended.problem.detail)
  if (ended.counts.failed > 0) await printRefused(ended)
  if (ended.counts.failed > 0 || ended.state !== 'completed') process.exitCode = 1
}

/** The command; sets the exit code. */
export async function importCommand(args: string[]): Promise<void> {
  await importFile(args).catch((error: Error) => {
    console.error(error.message)
    process.exitCode = 1
  })
}

if (import.meta.main) await importCommand(process.argv.slice(2))
