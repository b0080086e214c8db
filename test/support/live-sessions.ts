import { connect } from 'node:tls'
import type { MailServers } from './mail-servers.ts'

export interface Session {
  /** Sends lines, and waits for words of the server; false when it hangs up without them. */
  ask(lines: string, answer: RegExp): Promise<boolean>
  /** Whether the server still answers in it. */
  isAlive(): Promise<boolean>
  /** Resolves when the server has ended it, with the moment. */
  ended: Promise<number>
  close(): void
}

const words = {
  imap: {
    login: (user: string, password: string) => `a login ${user} ${password}\r\na select INBOX\r\n`,
    loggedIn: /^a OK \[READ-WRITE\]/m,
    ask: 'b noop\r\n',
    answer: /^b OK /m,
  },
  pop3: {
    login: (user: string, password: string) => `USER ${user}\r\nPASS ${password}\r\n`,
    loggedIn: /^\+OK Logged in/m,
    ask: 'NOOP\r\n',
    answer: /^\+OK\r\n/m,
  },
}

export type Protocol = keyof typeof words

/** Logs in inside TLS and stays. */
export async function openSession(
  { ports }: MailServers,
  protocol: Protocol,
  { user, password }: { user: string; password: string },
): Promise<Session> {
  const { login, loggedIn, ask, answer } = words[protocol]
  // the certificate is self-made
  const socket = connect({ host: '127.0.0.1', port: ports[`${protocol}s`], rejectUnauthorized: false })
  const said = listen(socket)
  const ended = new Promise<number>((resolve) => socket.on('close', () => resolve(Date.now())))
  socket.write(login(user, password))
  if (!(await said(loggedIn))) throw new Error(`${user} could not log in by ${protocol}`)
  const put = async (lines: string, words: RegExp) => {
    if (!socket.writable) return false
    socket.write(lines)
    return said(words)
  }
  return {
    ask: put,
    isAlive: () => put(ask, answer),
    ended,
    close: () => socket.destroy(),
  }
}

function listen(socket: ReturnType<typeof connect>): (words: RegExp) => Promise<boolean> {
  let heard = ''
  let wake = () => {}
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    heard += chunk
    wake()
  })
  socket.on('error', () => undefined).on('close', () => wake())
  return async (expected) => {
    while (!expected.test(heard)) {
      if (socket.closed) return false
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
    heard = ''
    return true
  }
}
