import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { connect } from 'node:tls'
import { openDialogue } from './mail-clients.ts'
import type { MailServers } from './mail-servers.ts'
import { startScram } from './scram.ts'

/*
 * POP3, IMAP and SMTP in this process, for what has to be timed or done at once: to start a stock client takes longer
 * than what it does. That stock clients work too is for other tests.
 */

export interface Credentials {
  mechanism: 'PLAIN' | 'SCRAM-SHA-256'
  user: string
  password: string
}

export interface Session {
  write(line: string): void
  read(): Promise<string>
  /** Whether the server has hung up. */
  ended(): boolean
  close(): void
}

/** Inside TLS, with the certificate that the servers made themselves; past the greeting. */
export async function openSession(port: number): Promise<Session> {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.on('error', () => undefined) // seen as the end of the lines
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  const session: Session = {
    write: (line) => void socket.write(`${line}\r\n`),
    async read() {
      const { value, done } = await lines.next()
      if (done) throw new Error('the server hung up')
      return value
    },
    ended: () => socket.readableEnded,
    close: () => void socket.destroy(),
  }
  await once(socket, 'secureConnect')
  await session.read()
  return session
}

/** The server's verdict. `begin` starts the login, `isLast` knows the verdict when it comes. */
async function authenticate(
  session: Session,
  { mechanism, user, password }: Credentials,
  { begin, isLast }: { begin: string; isLast: (line: string) => boolean },
): Promise<string> {
  const verdict = async () => {
    for (;;) {
      const line = await session.read()
      if (isLast(line)) return line
    }
  }
  if (mechanism === 'PLAIN') {
    session.write(`${begin} PLAIN ${btoa(`\0${user}\0${password}`)}`)
    return verdict()
  }
  const scram = startScram(user, password)
  session.write(`${begin} SCRAM-SHA-256 ${btoa(scram.first)}`)
  const first = await session.read()
  if (!first.startsWith('+ ')) return first
  session.write(btoa(await scram.final(atob(first.slice(2)))))
  const second = await session.read()
  if (!second.startsWith('+ ')) return second
  scram.check(atob(second.slice(2)))
  session.write('')
  return verdict()
}

/** Whether the login is accepted over POP3. Throws at any other answer than yes and no. */
export async function tryPop3(session: Session, credentials: Credentials): Promise<boolean> {
  const isLast = (line: string) => /^(\+OK|-ERR)/.test(line)
  const verdict = await authenticate(session, credentials, { begin: 'AUTH', isLast })
  return judge(verdict, { accepted: /^\+OK/, refused: /^-ERR \[AUTH\]/ })
}

/** The same for IMAP. */
async function tryImap(session: Session, credentials: Credentials): Promise<boolean> {
  const isLast = (line: string) => line.startsWith('a ')
  const verdict = await authenticate(session, credentials, { begin: 'a AUTHENTICATE', isLast })
  return judge(verdict, { accepted: /^a OK/, refused: /^a NO \[AUTHENTICATIONFAILED\]/ })
}

function judge(verdict: string, { accepted, refused }: Record<'accepted' | 'refused', RegExp>): boolean {
  if (accepted.test(verdict)) return true
  if (refused.test(verdict)) return false
  throw new Error(`the server answers ${verdict}`)
}

/** A POP3 session past the login. Throws where it is refused. */
export function loginPop3({ ports }: MailServers, credentials: Credentials): Promise<Session> {
  return login(ports.pop3s, tryPop3, credentials)
}

/** The same for IMAP. */
export function loginImap({ ports }: MailServers, credentials: Credentials): Promise<Session> {
  return login(ports.imaps, tryImap, credentials)
}

async function login(port: number, attempt: typeof tryPop3, credentials: Credentials): Promise<Session> {
  const session = await openSession(port)
  if (await attempt(session, credentials)) return session
  session.close()
  throw new Error(`${credentials.mechanism} of ${credentials.user} was refused`)
}

/** The messages there are, over POP3 (RFC 1939 §5). */
export async function fetchPop3(session: Session): Promise<string[]> {
  session.write('STAT')
  const count = Number((await session.read()).split(' ')[1])
  const messages: string[] = []
  for (let number = 1; number <= count; number += 1) {
    session.write(`RETR ${number}`)
    messages.push((await readUntil(session, (line) => line === '.')).join('\n'))
  }
  return messages
}

/** The first message, over IMAP. */
export async function fetchImap(session: Session): Promise<string> {
  const isLast = (line: string) => line.startsWith('b ')
  session.write('b SELECT INBOX')
  await readUntil(session, isLast)
  session.write('b FETCH 1 BODY[]')
  return (await readUntil(session, isLast)).join('\n')
}

async function readUntil(session: Session, isLast: (line: string) => boolean): Promise<string[]> {
  const lines: string[] = []
  for (;;) {
    const line = await session.read()
    if (isLast(line)) return lines
    lines.push(line)
  }
}

/** What RCPT is answered, for mail from elsewhere; the message is sent where it is accepted. */
export async function sendAt(
  { ports }: MailServers,
  { to, subject }: { to: string; subject: string },
  onRecipient: () => void = () => {},
): Promise<string> {
  const dialogue = await openDialogue(ports.smtp)
  try {
    await dialogue.say('EHLO client.example')
    await dialogue.say('MAIL FROM:<someone@elsewhere.example>')
    const recipient = await dialogue.say(`RCPT TO:<${to}>`)
    onRecipient()
    if (!recipient.startsWith('250 ')) return recipient
    await dialogue.say('DATA')
    return await dialogue.say(`Subject: ${subject}\r\n\r\nbody\r\n.`)
  } finally {
    dialogue.close()
  }
}
