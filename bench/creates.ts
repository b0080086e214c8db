/**
 * How long a start takes, what memory the service needs, and how many mailboxes a second it creates. The absolute
 * figures are this machine's; what is compared is compared within one run.
 *   npm run bench:creates -- [creates without password] [creates with password]
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { deriveVerifiers } from '../src/accounts/verifiers.ts'
import { startEmbeddedPostgres } from '../src/embedded.ts'
import { loadOrCreateKeys } from '../src/keys.ts'
import { scopes } from '../src/scopes.ts'
import { createWorkQueue } from '../src/work-queue.ts'

const linked = Number(process.argv[2] ?? 10_000)
const withPassword = Number(process.argv[3] ?? 500)
const concurrency = 32
const port = 18_980
const url = `http://127.0.0.1:${port}`
const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))

async function start(env: Record<string, string>): Promise<{ child: ChildProcess; ms: number }> {
  const began = performance.now()
  const child = spawn(process.execPath, [new URL('../src/server.ts', import.meta.url).pathname], {
    env: { ...process.env, PORT: String(port), MAILWRIGHT_DATA_DIR: folder, ...env },
    stdio: 'ignore',
  })
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) throw new Error('the service ended')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return { child, ms: performance.now() - began }
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function residentMb(child: ChildProcess): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024)
}

/** Runs `one(i)` for 0 ≤ i < count, so many at a time. Returns how many a second. */
async function rate(
  count: number,
  one: (i: number) => Promise<void>,
  parallel = concurrency,
): Promise<number> {
  let next = 0
  const began = performance.now()
  const worker = async () => {
    for (let i = next++; i < count; i = next++) await one(i)
  }
  await Promise.all(Array.from({ length: parallel }, worker))
  return (count / (performance.now() - began)) * 1000
}

const report = (name: string, value: string) => console.log(`${name.padEnd(58)} ${value}`)

try {
  const first = await start({})
  await stop(first.child)
  const second = await start({})
  report('first start until /readyz (embedded, with initdb)', `${Math.round(first.ms)} ms`)
  report('second start until /readyz', `${Math.round(second.ms)} ms`)
  report('resident memory of the service, idle', `${await residentMb(second.child)} MB`)
  await stop(second.child)

  const postgres = await startEmbeddedPostgres({ dataDir: folder, log: () => {} })
  const serviceUrl = new URL(postgres.url)
  serviceUrl.username = 'bench'
  serviceUrl.password = 'bench'
  const admin = new pg.Client(postgres.url)
  await admin.connect()
  await admin.query(`create role bench login password 'bench' in role mailwright_service`)
  await admin.query(
    `insert into app.accounts (name, authentication) select 'linked' || i, 'local' from generate_series(0, $1 - 1) as i`,
    [linked],
  )
  await admin.end()
  const { child } = await start({
    DATABASE_URL: String(serviceUrl),
    MIGRATION_DATABASE_URL: postgres.url,
    LOG_LEVEL: 'info',
  })
  try {
    const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
    const token = await keys.sign({ subject: 'bench', scopes, domains: '*', expiresInSeconds: 3600 })
    const post = async (path: string, body: object) => {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      const text = await response.text()
      if (response.status !== 201) throw new Error(text)
    }
    await post('/v1/domains', { name: 'example.jp' })
    const onAccounts = await rate(linked, (i) =>
      post('/v1/mailboxes', { address: `linked${i}@example.jp`, create_account: false }),
    )
    report(`creates/s on existing accounts (${linked}, ${concurrency} at once)`, onAccounts.toFixed(0))
    report(`resident memory of the service after ${linked} creates`, `${await residentMb(child)} MB`)
    const queue = createWorkQueue()
    const options = { mechanisms: ['SCRAM-SHA-256'] as const, scramIterations: 100_000 }
    const derive = () => queue.run(async () => void (await deriveVerifiers('correct horse battery', options)))
    const alone = await rate(withPassword, derive)
    const creates = await rate(withPassword, (i) =>
      post('/v1/mailboxes', { address: `password${i}@example.jp`, password: 'correct horse battery' }),
    )
    report(`key derivations/s alone, ${availableParallelism()} at once`, alone.toFixed(1))
    report(`creates/s with a new account and password (${withPassword})`, creates.toFixed(1))
    report('  as a share of the derivations alone', (creates / alone).toFixed(2))
  } finally {
    await stop(child)
    await postgres.stop()
  }
} finally {
  await rm(folder, { recursive: true, force: true })
}
