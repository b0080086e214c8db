import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { call } from './api.ts'

/** bcrypt, as PostfixAdmin and others have it; taken as it is, so that nothing is hashed. */
export const passwordHash = '$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'

let sent = 0

/** Addresses that no other file of this process has. */
export function* names(rows: number): Generator<string> {
  sent += 1
  for (let i = 0; i < rows; i++) yield `import${sent}-${i}`
}

function* csv(domain: string, rows: number): Generator<string> {
  yield 'address,password_hash,external_id\n'
  const lines: string[] = []
  for (const name of names(rows)) {
    lines.push(`${name}@${domain},${passwordHash},${name}\n`)
    if (lines.length === 1000) yield lines.splice(0).join('')
  }
  yield lines.join('')
}

export interface Job {
  id: string
  finished_at: string | null
  state: string
  counts: Record<string, number>
}

export async function sendImport(
  { url, token }: { url: string; token: string },
  { domain, rows }: { domain: string; rows: number },
): Promise<Job> {
  const response = await fetch(new URL('/v1/imports', url), {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'text/csv' },
    body: Readable.toWeb(Readable.from(csv(domain, rows))) as never,
    duplex: 'half',
  } as RequestInit)
  const job = (await response.json()) as Job
  if (!response.ok) throw new Error(JSON.stringify(job))
  return job
}

/** Until it is done, all rows of it. */
export async function finishImport(
  caller: { url: string; token: string },
  { id }: Job,
  rows: number,
  meanwhile: () => Promise<void> = async () => {},
): Promise<void> {
  for (;;) {
    const job = (await call(caller, 'GET', `/v1/imports/${id}`)) as unknown as Job
    await meanwhile()
    if (job.finished_at !== null) {
      if (job.state === 'completed' && job.counts.created === rows) return
      throw new Error(JSON.stringify(job))
    }
    await sleep(100)
  }
}
