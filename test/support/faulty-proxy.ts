import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { after } from 'node:test'

/** Instead of the service's answer; `lose` hands the request on and hangs up, `hang` never answers. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | 'lose'
  | 'hang'
  | 'drop'

export interface Seen {
  method: string
  path: string
  key: string | undefined
  authorization: string | undefined
  /** In milliseconds, by a clock that is not set. */
  at: number
}

export interface FaultyProxy {
  url: string
  /** What befalls the next requests, in their order; those after them go through. */
  faults: Fault[]
  seen: Seen[]
}

/** Stands between a client and the service, and is what networks and busy services are. */
export async function startFaultyProxy(target: string): Promise<FaultyProxy> {
  const faults: Fault[] = []
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    seen.push(note(request))
    const body = await buffer(request)
    const fault = faults.shift()
    if (fault === 'hang') return
    if (fault === 'drop') return void request.socket.destroy()
    if (typeof fault === 'object') return answer(response, fault)
    const answered = await forward(target, request, body)
    if (fault === 'lose') request.socket.destroy()
    else await relay(answered, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, faults, seen }
}

function note({ method = '', url = '', headers }: IncomingMessage): Seen {
  const key = headers['idempotency-key'] as string | undefined
  return { method, path: url, key, authorization: headers.authorization, at: performance.now() }
}

function answer(response: ServerResponse, { status, headers, body }: Exclude<Fault, string>): void {
  response.writeHead(status, headers).end(body)
}

function forward(target: string, { method = '', url = '', headers }: IncomingMessage, body: Buffer) {
  const passed = Object.entries(headers).filter(
    ([name]) => !['host', 'connection', 'content-length'].includes(name),
  )
  return fetch(new URL(url, target), {
    method,
    headers: Object.fromEntries(passed) as Record<string, string>,
    ...(body.length > 0 && { body: new Uint8Array(body) }),
  })
}

async function relay(answered: Response, response: ServerResponse): Promise<void> {
  const text = await answered.text()
  const {
    'content-length': _,
    connection: __,
    'keep-alive': ___,
    ...headers
  } = Object.fromEntries(answered.headers)
  response.writeHead(answered.status, headers).end(text)
}
