import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import pg from 'pg'
import manifest from '../../package.json' with { type: 'json' }
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded.ts'
import { type InstallationKeys, loadOrCreateKeys } from '../../src/keys.ts'
import { scopes } from '../../src/scopes.ts'
import { freePort } from '../../test/support/process.ts'
import { stop } from './system.ts'

/** A Postgres that outlives services, those on it, and who may call them. */
export interface Installation {
  folder: string
  adminUrl: string
  /** As the service connects. */
  serviceUrl: string
  admin: pg.Client
  keys: InstallationKeys
  token: string
  /** A replica; what is in `env` besides. */
  startService(env?: Record<string, string>): Promise<Running>
  close(): Promise<void>
}

export interface Running {
  url: string
  child: ChildProcess
  /** From its start until it was ready. */
  readyMs: number
  stop(): Promise<void>
}

export async function openInstallation(folder: string): Promise<Installation> {
  const postgres: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir: folder, log: () => {} })
  const service = new URL(postgres.url)
  service.username = 'bench'
  service.password = 'bench'
  const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
  const token = await keys.sign({ subject: 'bench', scopes, domains: '*', expiresInSeconds: 7200 })
  const running = new Set<Running>()
  const env = {
    DATABASE_URL: String(service),
    MIGRATION_DATABASE_URL: postgres.url,
    MAILWRIGHT_DATA_DIR: folder,
  }
  const startService = async (more: Record<string, string> = {}) => {
    const started = await spawnService(new URL('../../src/server.ts', import.meta.url).pathname, {
      ...env,
      ...more,
    })
    running.add(started)
    return started
  }
  await (await startService()).stop() // migrates
  const admin = new pg.Client(postgres.url)
  await admin.connect()
  return {
    folder,
    adminUrl: postgres.url,
    serviceUrl: String(service),
    admin,
    keys,
    token,
    startService,
    async close() {
      for (const one of running) await one.stop()
      await admin.end()
      await postgres.stop()
    },
  }
}

export async function residentMegabytes({ child }: Running): Promise<number> {
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
  return (Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024) / 1e6
}

/** Those that `npm start` runs the service with. */
const flags = manifest.scripts.start.match(/(?<= )--\S+/g) ?? []

/** A program that serves HTTP and answers /readyz, as `npm start` runs it. */
export async function spawnService(program: string, env: Record<string, string>): Promise<Running> {
  const url = `http://127.0.0.1:${await freePort()}`
  const began = performance.now()
  const child = spawn(process.execPath, [...flags, program], {
    env: { ...process.env, PORT: new URL(url).port, ...env },
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) throw new Error(`${program} ended`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const stopIt = async () => {
    await stop(child)
    await ended
  }
  return { url, child, readyMs: performance.now() - began, stop: stopIt }
}
