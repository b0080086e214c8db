import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Body, type Client, outcome, type Reply } from './client.ts'

export function csv(header: string[], rows: string[][]): string {
  const line = (cells: string[]) => cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')
  return [header, ...rows].map((cells) => `${line(cells)}\r\n`).join('')
}

export function ndjson(rows: object[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join('')
}

export function postImport(
  api: Client,
  raw: string,
  query = '',
  headers: Record<string, string> = {},
): Promise<Reply> {
  const type = raw.startsWith('{') ? 'application/x-ndjson' : 'text/csv'
  return api.post(`/v1/imports${query}`, undefined, { raw, headers: { 'content-type': type, ...headers } })
}

/** The import as it is when it has ended. */
export async function importFile(api: Client, raw: string, query = ''): Promise<Body> {
  const reply = await postImport(api, raw, query)
  assert.equal(outcome(reply), '202', JSON.stringify(reply.body))
  assert.equal(reply.headers.get('location'), `/v1/imports/${reply.body.id}`)
  return untilDone(api, reply.body.id)
}

export async function untilDone(api: Client, id: string): Promise<Body> {
  const until = Date.now() + 120_000
  for (;;) {
    const { body } = await api.get(`/v1/imports/${id}`)
    if (body.finished_at !== null) return body
    if (Date.now() > until) throw new Error(`the import does not end: ${JSON.stringify(body)}`)
    await sleep(50)
  }
}

export async function rowsOf(api: Client, id: string): Promise<Body[]> {
  const rows: Body[] = []
  for (let next: string | null = ''; next !== null; ) {
    const { body }: Reply = await api.get(`/v1/imports/${id}/rows?limit=1000${next && `&cursor=${next}`}`)
    rows.push(...body.items)
    next = body.next
  }
  return rows
}
