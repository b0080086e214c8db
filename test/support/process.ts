import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import './overdue.ts'

export interface ServiceProcess {
  child: ChildProcess
  url: string
  dataDir: string
  /** What it has printed so far, on both streams. */
  output: () => string
}

export interface ProcessOptions {
  dataDir?: string
  env?: Record<string, string>
  port?: number
  /** Its certificate, where it speaks TLS. */
  certificate?: string
}

const entry = new URL('../../src/server.ts', import.meta.url).pathname
const readyMs = 60_000

/** The real program with its embedded Postgres, on a free port, in a folder that goes with the test. */
export async function startProcess(t: TestContext, options: ProcessOptions = {}): Promise<ServiceProcess> {
  let started: ChildProcess | undefined
  t.after(() => started && stopProcess(started)) // before the folder goes, which is registered later
  const dataDir = options.dataDir ?? (await temporaryFolder(t))
  const port = options.port ?? (await freePort())
  const { DATABASE_URL: _, ...environment } = process.env
  const child = spawn(process.execPath, [entry], {
    env: {
      ...environment,
      MAILWRIGHT_DATA_DIR: dataDir,
      PORT: String(port),
      LOG_LEVEL: 'info',
      ...options.env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text) => (output += text))
  started = child
  const url = `${options.certificate ? 'https' : 'http'}://127.0.0.1:${port}`
  await untilReady(
    () => isReady(url, options.certificate),
    child,
    () => output,
  )
  return { child, url, dataDir, output: () => output }
}

/** Ends it as an operator would; resolves with its exit code when it is gone. */
export async function stopProcess(
  child: ChildProcess,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const gone = once(child, 'exit')
  child.kill(signal)
  const lastResort = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const [code] = await gone
  clearTimeout(lastResort)
  return code
}

function isReady(url: string, certificate?: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ca = certificate && readFileSync(certificate)
    const request = certificate ? https.get(`${url}/readyz`, { ca }) : http.get(`${url}/readyz`)
    request.on('response', (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on('error', () => resolve(false))
  })
}

async function untilReady(
  ready: () => Promise<boolean>,
  child: ChildProcess,
  output: () => string,
): Promise<void> {
  const until = Date.now() + readyMs
  while (!(await ready())) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended:\n${output()}`)
    if (Date.now() > until) throw new Error(`not ready:\n${output()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-test-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
