import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { catalogue } from './catalogue.ts'
import { problem } from './problems.ts'

interface ClientError extends Error {
  code?: string
}

const answers: Record<string, { status: string; detail: string }> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    detail: 'The headers are too large.',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: '408 Request Timeout', detail: 'The request did not arrive in time.' },
}
const otherwise = { status: '400 Bad Request', detail: 'This is not a well-formed HTTP request.' }

/** What cannot be read as HTTP never reaches a route; it gets the same kind of answer all the same. */
export function refuseMalformed(this: FastifyInstance, error: ClientError, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return
  const { status, detail } = answers[error.code ?? ''] ?? otherwise
  const id = randomUUID()
  if (status === otherwise.status) this.metrics?.problems.inc({ code: 'invalid-request' })
  this.log.info({ reqId: id, reason: error.code, address: socket.remoteAddress }, 'not a request')
  const body = JSON.stringify({
    type: status === otherwise.status ? '/problems/invalid-request' : 'about:blank',
    title: status === otherwise.status ? catalogue['invalid-request'].title : status.slice(4),
    status: Number.parseInt(status, 10),
    detail,
    instance: `urn:uuid:${id}`,
  })
  const head = [
    `HTTP/1.1 ${status}`,
    'Content-Type: application/problem+json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${id}`,
    'Connection: close',
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}

/** What Node would answer by itself, without a word and without an id. */
export const wellFormed = fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', ({ headers, raw }, _reply, done) => {
    if (headers.host !== undefined || raw.httpVersion !== '1.1') return done()
    throw problem('invalid-request', { detail: 'A request has the header Host (RFC 9112 §3.2).' })
  })
  // Another expectation than 100-continue may be passed over: RFC 9110 §10.1.1.
  app.server.on('checkExpectation', (request, response) => app.routing(request, response))
})

/** For Node's server: `wellFormed` does it. */
export const serverOptions = { requireHostHeader: false }
