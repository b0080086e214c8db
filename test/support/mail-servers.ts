import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findUser } from '../../src/mail/users.ts'
import { mailUrl } from './mail.ts'
import { type Service, startService } from './service.ts'

const portVariables = {
  smtp: 'SMTP_PORT',
  submission: 'SUBMISSION_PORT',
  pop3: 'POP3_PORT',
  pop3s: 'POP3S_PORT',
  imap: 'IMAP_PORT',
  imaps: 'IMAPS_PORT',
  doveadm: 'DOVEADM_PORT',
} as const

export type Ports = Record<keyof typeof portVariables, number>

export interface MailServers {
  ports: Ports
  /** The folder of tests that a stock client may write to. */
  folder: string
  dataDir: string
  /** Both logs and what deploy/mail itself said. */
  logs(): string
  /** The program that keeps both servers running. */
  process: ChildProcess
}

/** What is tested. */
export const dovecotProgram = process.env.MAIL_TEST_DOVECOT ?? 'dovecot'

/** Such as `2.3.19.1 (9b53102964)`; empty where there is none. */
export function dovecotVersion(): string {
  return spawnSync(dovecotProgram, ['--version'], { encoding: 'utf8' }).stdout ?? ''
}

const programs = ['postfix', 'dovecot', 'swaks', 'curl', 'mpop', 'msmtp', 'gsasl', 'openssl']

/** Why the mail servers cannot be started here; false where they can, and where a continuous integration has to. */
export const cannotServeMail: string | false = findObstacle()

function findObstacle(): string | false {
  if (process.env.CI === 'true') return false
  if (process.getuid?.() !== 0) return 'Postfix and Dovecot are started as root'
  const path = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` }
  const missing = programs.filter((name) => spawnSync('which', [name], { env: path }).status !== 0)
  if (spawnSync('perl', ['-MNet::SSLeay', '-e', '1']).status !== 0) missing.push('Net::SSLeay, for swaks')
  return missing.length > 0 && `not installed: ${missing.join(', ')}`
}

/** Free a moment ago. */
export async function findFreePorts(): Promise<Ports> {
  const servers = Object.keys(portVariables).map(() => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return Object.fromEntries(Object.keys(portVariables).map((name, i) => [name, ports[i]])) as Ports
}

// what makes a guesser wait makes a test wait; the first is for Dovecot, the second for Postfix
const withoutDelays = [
  'auth_failure_delay = 0\nservice anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}\n',
  'in_flow_delay = 0\nsmtpd_error_sleep_time = 0\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\n',
]

const makeDataDir = () => mkdtemp(join(tmpdir(), 'mailwright-mail-'))

/** The service with its job worker and the mail servers, which share a data folder as in an installation. */
export async function startMailSystem() {
  const jobs = { dataDir: await makeDataDir(), doveadmUrl: undefined, doveadmKeyFile: undefined }
  const service = await startService({ jobs })
  const servers = await startMailServers(service, jobs.dataDir)
  if (cannotServeMail) await rm(jobs.dataDir, { recursive: true })
  return { service, servers, jobs }
}

/** deploy/mail on free ports and the service's database, in a temporary folder. It ends with the test file. */
export async function startMailServers(service: Service, folder?: string): Promise<MailServers> {
  if (cannotServeMail) return {} as MailServers // for tests that are skipped
  const database = service.admin.options.connectionString ?? ''
  await openSocketFolder(database)
  const dataDir = folder ?? (await makeDataDir())
  const servers = await runMail(dataDir, {
    DATABASE_URL: database,
    MAIL_READ_DATABASE_URL: mailUrl(database, 'read'),
    MAIL_WRITE_DATABASE_URL: mailUrl(database, 'write'),
  })
  after(async () => {
    await stopMail(servers)
    await rm(dataDir, { recursive: true, force: true })
  })
  return servers
}

/** Starts deploy/mail and waits until it is ready. */
export async function runMail(dataDir: string, env: Record<string, string>): Promise<MailServers> {
  const folder = join(dataDir, 'clients')
  const local = join(dataDir, 'mail', 'local')
  await chmod(dataDir, 0o711)
  for (const each of [folder, local]) await mkdir(each, { recursive: true })
  await writeFile(join(local, 'dovecot.conf'), withoutDelays[0]!)
  await writeFile(join(local, 'main.cf'), withoutDelays[1]!)
  const ports = await findFreePorts()
  const child = spawn(fileURLToPath(new URL('../../deploy/mail', import.meta.url)), {
    env: {
      PATH: process.env.PATH,
      MAILWRIGHT_DATA_DIR: dataDir,
      MAIL_HOST: '127.0.0.1',
      MAIL_DOVECOT: process.env.MAIL_TEST_DOVECOT, // else the installed one
      ...Object.fromEntries(
        Object.entries(ports).map(([name, port]) => [portVariables[name as keyof Ports], String(port)]),
      ),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk))
  const logs = () => `${said}\n${readLogs(dataDir)}`
  const servers = { ports, folder, dataDir, logs, process: child }
  for (const until = Date.now() + 60_000; !said.includes('ready'); await sleep(50)) {
    if (child.exitCode !== null || Date.now() > until) {
      await stopMail(servers)
      throw new Error(`The mail servers did not start: ${logs()}`)
    }
  }
  return servers
}

export async function stopMail({ process: child }: MailServers): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

function readLogs(dataDir: string): string {
  const read = (name: string) => {
    try {
      return readFileSync(join(dataDir, 'mail', 'log', name), 'utf8')
    } catch {
      return ''
    }
  }
  return read('postfix.log') + read('dovecot.log')
}

/** Lets the mail servers into the folder of the tests' own Postgres, as deploy/mail does with the embedded one. */
async function openSocketFolder(url: string): Promise<void> {
  const folder = new URL(url).searchParams.get('host')
  const user = await findUser('postfix')
  if (!folder?.startsWith('/') || !user) return
  await chown(folder, (await stat(folder)).uid, user.gid)
  await chmod(folder, 0o750)
}

/** Asks again until the answer is truthy. */
export async function eventually<T>(
  ask: () => Promise<T> | T,
  what: string,
  patienceMs = 15_000,
): Promise<T> {
  for (const until = Date.now() + patienceMs; ; await sleep(100)) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > until) throw new Error(`${what} did not come about in ${patienceMs} ms`)
  }
}

/** The files of a mailbox's messages, new and seen. Dovecot may move one while they are read; then they are read again. */
export async function readMaildir(servers: MailServers, id: string, tries = 5): Promise<string[]> {
  try {
    return await readMessages(servers, id)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 1) throw error
    return readMaildir(servers, id, tries - 1)
  }
}

async function readMessages({ dataDir }: MailServers, id: string): Promise<string[]> {
  const folder = join(dataDir, 'mail', 'mail', id.slice(0, 2), id, 'Maildir')
  const lists = await Promise.all(
    ['new', 'cur'].map(async (name) =>
      (await readdir(join(folder, name)).catch(() => [])).map((file) => join(folder, name, file)),
    ),
  )
  return lists.flat().map((file) => readFileSync(file, 'utf8'))
}
