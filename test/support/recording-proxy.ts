import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { after } from 'node:test'

export interface RecordingProxy {
  url: string
  /** Every octet that went through so far, in both directions. */
  recorded(): Buffer
}

/** Stands between clients and the service, and keeps what an eavesdropper on either side of TLS would see. */
export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const chunks: Buffer[] = []
  const { port, hostname } = new URL(target)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const service = connect(Number(port), hostname)
    for (const [from, to] of [
      [client, service],
      [service, client],
    ] as const) {
      sockets.add(from)
      from.on('data', (chunk: Buffer) => chunks.push(chunk))
      from.on('error', () => to.destroy())
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, recorded: () => Buffer.concat(chunks) }
}
