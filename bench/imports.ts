import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * How fast rows with a password_hash are done, by a service that runs already: MAILWRIGHT_URL, MAILWRIGHT_TOKEN, and the
 * number of rows (default 100,000). They go into a new domain.
 */
const url = process.env.MAILWRIGHT_URL ?? 'http://127.0.0.1:8080'
const authorization = `Bearer ${process.env.MAILWRIGHT_TOKEN}`
const rows = Number(process.argv[2] ?? 100_000)
const domain = `bench-${Date.now().toString(36)}.example`
const tag = Date.now().toString(36)
const hash = '$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'

async function call(method: string, path: string, body?: object) {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { authorization, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return response.json()
}

function* file() {
  yield 'address,password_hash,external_id\n'
  for (let i = 0; i < rows; i += 1000) {
    const lines = Array.from(
      { length: Math.min(1000, rows - i) },
      (_, j) => `${tag}${i + j}@${domain},${hash},${i + j}\n`,
    )
    yield lines.join('')
  }
}

await call('POST', '/v1/domains', { name: domain })
const began = performance.now()
const response = await fetch(new URL('/v1/imports', url), {
  method: 'POST',
  headers: { authorization, 'content-type': 'text/csv' },
  body: Readable.toWeb(Readable.from(file())) as never,
  duplex: 'half',
} as RequestInit)
let job = (await response.json()) as { id: string; state: string; counts: object; finished_at: string | null }
if (!response.ok) throw new Error(JSON.stringify(job))
const received = performance.now()
while (job.finished_at === null) {
  await sleep(100)
  job = (await call('GET', `/v1/imports/${job.id}`)) as typeof job
}
const done = performance.now()
const perSecond = (ms: number) => Math.round((rows / ms) * 1000)
console.log(
  JSON.stringify({
    rows,
    state: job.state,
    counts: job.counts,
    received_per_second: perSecond(received - began),
    done_per_second: perSecond(done - received),
  }),
)
