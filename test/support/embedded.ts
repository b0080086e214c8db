import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded.ts'

const root = process.getuid!() === 0
export const asRoot = { skip: root ? false : 'needs root: this user cannot give Postgres to another' }

// Everything lies below one folder that the user without rights can pass through.
export const base = await mkdtemp(join(tmpdir(), 'mw-'))
await chmod(base, 0o711)
const running: EmbeddedPostgres[] = []
afterEach(async () => {
  for (const postgres of running.splice(0)) await postgres.stop()
})
after(() => rm(base, { recursive: true, force: true }))

let folders = 0
export function newDataDir(): string {
  return join(base, `d${++folders}`)
}

export const logged: string[] = []
export async function start(
  dataDir: string,
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const log = (level: string, message: string) => logged.push(`${level} ${message}`)
  const postgres = await startEmbeddedPostgres({ dataDir, log, fallbackDir: join(base, 'moved'), ...options })
  running.push(postgres)
  return postgres
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.query(sql)).rows
  } finally {
    await client.end().catch(() => undefined)
  }
}

export async function eventually<T>(what: () => Promise<T>): Promise<T> {
  for (const until = Date.now() + 20_000; ; await sleep(50)) {
    try {
      return await what()
    } catch (error) {
      if (Date.now() > until) throw error
    }
  }
}

export function pidFile(dataDir: string): string {
  return join(dataDir, 'postgres', 'postmaster.pid')
}

export function postmasterOf(dataDir: string): number {
  return Number.parseInt(readFileSync(pidFile(dataDir), 'utf8'), 10)
}

/** A zombie does not: the init of a container may leave it for ever. */
export function lives(pid: number): boolean {
  try {
    if (process.platform === 'linux') return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Another process that starts the embedded Postgres and does what `then` says. */
export async function startInChild(
  dataDir: string,
  then: string,
): Promise<{ child: ChildProcess; url: string }> {
  const script = `
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('../../src/embedded.ts', import.meta.url).href)}
    const postgres = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log() {} })
    console.log(postgres.url)
    ${then}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr!.on('data', (chunk) => {
    errors += chunk
  })
  const [line] = await Promise.race([once(child.stdout!, 'data'), once(child, 'close')])
  if (!(line instanceof Buffer)) throw new Error(`The service ended at its start: ${errors}`)
  return { child, url: line.toString().trim() }
}

export const stay = 'setInterval(() => {}, 1000)'

export async function killService(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}
