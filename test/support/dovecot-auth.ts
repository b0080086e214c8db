import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { startScram } from './scram.ts'

export interface AuthClient {
  /** Whether the login is accepted. Throws where Dovecot says that it could not tell. */
  login(mechanism: 'PLAIN' | 'SCRAM-SHA-256', user: string, password: string): Promise<boolean>
  close(): void
}

type Reply = [command: string, ...fields: string[]]

/**
 * Logs in at the socket that Postfix uses (Dovecot's authentication protocol, version 1.2): what a login costs in
 * Dovecot's authentication and in the database, without TLS and without the processes of POP3 and IMAP.
 */
export async function openAuth(path: string): Promise<AuthClient> {
  const socket = connect(path)
  const waiting = new Map<string, (reply: Reply) => void>()
  const ready = Promise.withResolvers<void>()
  let last = 0
  createInterface({ input: socket }).on('line', (line) => {
    const [command = '', id = '', ...fields] = line.split('\t')
    if (command === 'DONE') return ready.resolve()
    waiting.get(id)?.([command, ...fields])
  })
  await once(socket, 'connect')
  socket.write(`VERSION\t1\t2\nCPID\t${process.pid}\n`)
  await ready.promise
  socket.once('close', () => {
    for (const answer of waiting.values()) answer(['CLOSED'])
  })

  const ask = (id: string, line: string) => {
    const { promise, resolve } = Promise.withResolvers<Reply>()
    waiting.set(id, resolve)
    socket.write(line)
    return promise
  }
  const begin = (id: string, mechanism: string, response: string) =>
    ask(id, `AUTH\t${id}\t${mechanism}\tservice=smtp\tsecured\tresp=${btoa(response)}\n`)
  const go = (id: string, response: string) => ask(id, `CONT\t${id}\t${btoa(response)}\n`)

  return {
    async login(mechanism, user, password) {
      last += 1
      const id = String(last)
      const reply =
        mechanism === 'PLAIN'
          ? await begin(id, mechanism, `\0${user}\0${password}`)
          : await loginScram(id, { user, password })
      waiting.delete(id)
      return isAccepted(reply)
    },
    close: () => void socket.destroy(),
  }

  async function loginScram(id: string, { user, password }: { user: string; password: string }) {
    const scram = startScram(user, password)
    const first = await begin(id, 'SCRAM-SHA-256', scram.first)
    if (first[0] !== 'CONT') return first
    const second = await go(id, await scram.final(atob(first[1]!)))
    if (second[0] !== 'CONT') return second
    scram.check(atob(second[1]!))
    return go(id, '')
  }
}

function isAccepted([command, ...fields]: Reply): boolean {
  if (command === 'OK') return true
  if (command === 'FAIL' && !fields.includes('temp')) return false
  throw new Error(`Dovecot answers ${command} ${fields.join(' ')}`)
}
