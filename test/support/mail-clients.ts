import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as secure } from 'node:tls'
import type { MailServers } from './mail-servers.ts'

export interface Ran {
  code: number | null
  output: string
}

/** Runs a stock client to its end. */
export async function run(file: string, args: string[], input = '', patienceMs = 60_000): Promise<Ran> {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: patienceMs })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  child.stdin.on('error', () => undefined) // a client that does not read
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, output }
}

export interface Message {
  from: string
  to: string
  subject?: string
  body?: string
  /** Who logs in; nobody on the port for mail from elsewhere. */
  user?: string
  password?: string
  mechanism?: string
  /** Options of swaks. */
  options?: string[]
}

/** `250`, or the refusal as the server words it, such as `550 5.1.1 …`. Sent with swaks. */
export async function send({ ports }: MailServers, message: Message): Promise<string> {
  const { from, to, subject = 'a test', body = 'body', user, password = '', mechanism = 'PLAIN' } = message
  const login =
    user === undefined
      ? ['--server', `127.0.0.1:${ports.smtp}`]
      : [
          '--server',
          `127.0.0.1:${ports.submission}`,
          '-tls',
          '--auth',
          mechanism,
          '--auth-user',
          user,
          '--auth-password',
          password,
        ]
  const { output } = await run('swaks', [
    ...login,
    ...[
      '--helo',
      'client.example',
      '--from',
      from,
      '--to',
      to,
      '--header',
      `Subject: ${subject}`,
      '--body',
      body,
    ],
    ...(message.options ?? []),
  ])
  const refusal = /^<(?:\*\*|~\*) +(\d{3} .*)$/m.exec(output)?.[1]
  if (refusal !== undefined) return refusal.trim()
  if (/^(<-|<~) +250 2\.0\.0 Ok: queued/m.test(output)) return '250'
  throw new Error(`swaks says: ${output}`)
}

export interface Login {
  user: string
  password: string
  mechanism: string
}

/** `ok` or `refused`, by curl over TLS. */
export async function curlLogin(
  servers: MailServers,
  protocol: 'pop3' | 'imap',
  login: Login,
): Promise<string> {
  const { code, output } = await curl(servers, protocol, { ...login, path: '/' })
  if (code === 0) return 'ok'
  if (code === 67) return 'refused' // curl(1): the user name or password was not accepted
  throw new Error(`curl ends with ${code}: ${output}`)
}

/** The first message, by curl over TLS. */
export async function curlFetch(
  servers: MailServers,
  protocol: 'pop3' | 'imap',
  login: Login,
): Promise<string> {
  const path = protocol === 'pop3' ? '/1' : '/INBOX;MAILINDEX=1'
  const { code, output } = await curl(servers, protocol, { ...login, path })
  if (code !== 0) throw new Error(`curl ends with ${code}: ${output}`)
  return output
}

function curl(
  { ports }: MailServers,
  protocol: 'pop3' | 'imap',
  { path, ...login }: Login & { path: string },
) {
  const { user, password, mechanism } = login
  const url = `${protocol}s://127.0.0.1:${ports[`${protocol}s`]}${path}`
  return run('curl', [
    '-sSk',
    '--url',
    url,
    '--user',
    `${user}:${password}`,
    '--login-options',
    `AUTH=${mechanism}`,
  ])
}

/** What a server offers before any login. */
export async function curlCapability({ ports }: MailServers, protocol: 'pop3' | 'imap'): Promise<string> {
  const url = `${protocol}s://127.0.0.1:${ports[`${protocol}s`]}`
  const command = protocol === 'pop3' ? 'CAPA' : 'CAPABILITY'
  return (await run('curl', ['-sSkv', '--url', url, '-X', command])).output
}

/** The names of the SASL mechanisms that a server offers inside TLS, in the order of the alphabet. */
export async function readMechanisms(servers: MailServers, protocol: 'pop3' | 'imap' | 'submission') {
  if (protocol === 'submission') {
    const greetings = (await swaksGreeting(servers)).matchAll(/^ ?<~ +250[ -]AUTH (.*)$/gm)
    return [...greetings].at(-1)?.[1]?.trim().split(' ').sort() ?? []
  }
  const list = await curlCapability(servers, protocol)
  if (protocol === 'pop3') return /^SASL (.*)$/m.exec(list)?.[1]?.trim().split(' ').sort() ?? []
  return [...new Set([...list.matchAll(/\bAUTH=([\w-]+)/g)].map(([, name = '']) => name))].sort()
}

/** What submission offers inside TLS. */
export async function swaksGreeting({ ports }: MailServers): Promise<string> {
  const server = `127.0.0.1:${ports.submission}`
  return (
    await run('swaks', ['--server', server, '-tls', '--helo', 'client.example', '--quit-after', 'HELO'])
  ).output
}

/** All messages of the mailbox by mpop over POP3 inside TLS; undefined where the login is refused. */
export async function mpopFetch(
  servers: MailServers,
  { user, password, mechanism }: Login,
): Promise<string | undefined> {
  const mbox = join(servers.folder, `mpop-${process.pid}-${user}.mbox`)
  const { code, output } = await runConfigured(servers, 'mpop', [
    'account default',
    'host 127.0.0.1',
    `port ${servers.ports.pop3s}`,
    'tls on',
    'tls_starttls off',
    'tls_certcheck off',
    `auth ${mechanism.toLowerCase()}`,
    `user ${user}`,
    `password ${password}`,
    `delivery mbox ${mbox}`,
    `uidls_file ${mbox}.uidls`,
    'keep on',
    'only_new off',
  ])
  if (/authentication failed/.test(output)) return undefined
  if (code !== 0) throw new Error(`mpop ends with ${code}: ${output}`)
  const fetched = await readFile(mbox, 'utf8').catch(() => '')
  await rm(mbox, { force: true })
  return fetched
}

/** `sent`, or what the server answers, by msmtp over submission with STARTTLS. */
export async function msmtpSend(
  servers: MailServers,
  { from, to, subject = 'a test', ...message }: Message,
): Promise<string> {
  const { code, output } = await runConfigured(
    servers,
    'msmtp',
    [
      'account default',
      'host 127.0.0.1',
      `port ${servers.ports.submission}`,
      'tls on',
      'tls_certcheck off',
      `auth ${message.mechanism?.toLowerCase()}`,
      `user ${message.user}`,
      `password ${message.password}`,
      `from ${from}`,
    ],
    [to],
    `Subject: ${subject}\n\nbody\n`,
  )
  return code === 0 ? 'sent' : output
}

async function runConfigured(
  { folder }: MailServers,
  program: string,
  lines: string[],
  args: string[] = [],
  input = '',
) {
  const file = join(folder, `${program}-${process.pid}-${Math.random()}.conf`)
  await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 })
  const ran = await run(program, ['-C', file, ...args], input)
  await rm(file)
  return ran
}

/** Whether the IMAP login works, by gsasl (GNU SASL). */
export async function gsaslLogin(servers: MailServers, login: Login): Promise<boolean> {
  return (await gsaslAnswer(servers, login)).startsWith('OK Logged in')
}

/** What IMAP answers to the login, by gsasl; nothing where it hangs up or does not answer in time. */
export async function gsaslAnswer(
  { ports }: MailServers,
  login: Login,
  patienceMs?: number,
): Promise<string> {
  const server = ['--imap', '--no-starttls', '--connect', `127.0.0.1:${ports.imap}`]
  const { mechanism, user, password } = login
  const client = ['--mechanism', mechanism, '--authentication-id', user, '--password', password]
  const { output } = await run('gsasl', [...server, ...client], '\n\n', patienceMs)
  const [, answer = ''] = /^\. AUTHENTICATE[\s\S]*?^\. ((?:OK|NO|BAD) .*)$/m.exec(output) ?? []
  return answer.trim()
}

export interface Dialogue {
  /** Sends a line as it is, and resolves to the answer's last line. */
  say(line: string | Buffer): Promise<string>
  /** Goes on inside TLS. */
  startTls(): Promise<void>
  close(): void
}

/** A line at a time, in bytes: for what no client would send. */
export async function openDialogue(port: number): Promise<Dialogue> {
  let buffered = ''
  let wake = () => {}
  const listenTo = (to: Socket) => {
    to.on('data', (chunk: Buffer) => {
      buffered += chunk.toString('latin1')
      wake()
    })
    return to.on('error', () => undefined).on('close', () => wake())
  }
  let socket = listenTo(connect(port, '127.0.0.1'))
  const answer = async () => {
    for (;;) {
      // RFC 5321 §4.2.1: the last line of a reply has a space after its code
      const end = /^(\d{3} .*)\r\n/m.exec(buffered)
      if (end) {
        buffered = buffered.slice(end.index + end[0].length)
        return end[1]!
      }
      if (socket.closed) throw new Error('the server hung up')
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  await answer()
  const say = (line: string | Buffer) => {
    socket.write(line)
    socket.write('\r\n')
    return answer()
  }
  return {
    say,
    async startTls() {
      await say('STARTTLS')
      socket.removeAllListeners('data')
      socket = listenTo(secure({ socket, rejectUnauthorized: false })) // the certificate is self-made
    },
    close: () => socket.destroy(),
  }
}
