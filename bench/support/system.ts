import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { locate } from '../../src/embedded/place.ts'
import { databaseUrl } from '../../src/embedded/server.ts'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { scopes } from '../../src/scopes.ts'
import { type MailServers, runMail, stopMail } from '../../test/support/mail-servers.ts'
import { freePort } from '../../test/support/process.ts'

export interface System {
  servers: MailServers
  /** The database as its superuser. */
  adminUrl: string
  /** The body of the answer; throws unless it is the expected one. */
  call(method: string, path: string, body: object, expected: number): Promise<Record<string, unknown>>
  stop(): Promise<void>
}

/** What `npm start` and `npm run mail` give, in a temporary folder. Needs root and the packages, as they do. */
export async function startSystem(): Promise<System> {
  const dataDir = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
  const { child, url } = await startService(dataDir)
  const stopService = async () => {
    await stop(child)
    await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const servers = await runMail(dataDir, {})
    const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
    const token = await keys.sign({ subject: 'bench', scopes, domains: '*', expiresInSeconds: 7200 })
    return {
      servers,
      adminUrl: await findAdminUrl(dataDir),
      call: (method, path, body, expected) => call({ url, token }, { method, path, body, expected }),
      async stop() {
        await stopMail(servers)
        await stopService()
      },
    }
  } catch (error) {
    await stopService()
    throw error
  }
}

/** `npm start` with its own Postgres, on a free port. */
export async function startService(dataDir: string): Promise<{ child: ChildProcess; url: string }> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const { DATABASE_URL: _, ...environment } = process.env
  const child = spawn(process.execPath, [new URL('../../src/server.ts', import.meta.url).pathname], {
    env: { ...environment, PORT: String(port), MAILWRIGHT_DATA_DIR: dataDir },
    stdio: 'ignore',
  })
  while (!(await fetch(`${url}/readyz`).catch(() => undefined))?.ok) {
    if (child.exitCode !== null) throw new Error('the service ended')
    await sleep(50)
  }
  return { child, url }
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

async function findAdminUrl(folder: string): Promise<string> {
  const { dataDir, socketDir } = await locate(folder)
  const password = await readFile(join(dataDir, 'postgres-password'), 'utf8')
  return databaseUrl({ socketDir, password: password.trim() })
}

interface Call {
  method: string
  path: string
  body: object
  expected: number
}

async function call({ url, token }: { url: string; token: string }, { method, path, body, expected }: Call) {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  if (response.status !== expected) throw new Error(`${method} ${path} answers ${response.status}: ${text}`)
  return text === '' ? {} : JSON.parse(text)
}
