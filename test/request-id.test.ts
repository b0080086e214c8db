import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from './support/races.ts'
import { startService } from './support/service.ts'

// Whatever is answered has an id, and the log has a line with it.

const service = await startService()
const { token } = await service.as({ subject: 'hr-system' })
const { port } = new URL(service.url)

before(async () => {
  await (await service.as()).post('/v1/domains', { name: 'example.jp' })
})

/** What comes back on a connection of its own, to the end. */
async function answerTo(text: string): Promise<string> {
  const socket = connect(Number(port), '127.0.0.1')
  let answer = ''
  socket.on('data', (data) => (answer += data))
  socket.on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return answer
}

interface Line {
  msg: string
  reqId?: string
  [member: string]: unknown
}

/** A line may be written a moment after the answer. */
async function lineWith(wanted: (line: Line) => boolean): Promise<Line> {
  for (const until = Date.now() + 5_000; Date.now() < until; await sleep(5)) {
    const line = service.log.map((text) => JSON.parse(text) as Line).find(wanted)
    if (line) return line
  }
  throw new Error('there is no such line')
}

const own = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }

function request(start: string, headers: Record<string, string | number> = {}, body = ''): string {
  const all = { host: 'localhost', connection: 'close', ...headers }
  return [
    `${start} HTTP/1.1`,
    ...Object.entries(all).map(([name, value]) => `${name}: ${value}`),
    '',
    body,
  ].join('\r\n')
}

const large = JSON.stringify({ name: 'a'.repeat(70_000) })

/** The request, its status, and what its line says. */
const cases: Record<string, [string, number, string]> = {
  'a good one': [request('GET /v1/domains', own), 200, 'request'],
  'one without a token': [request('GET /v1/domains'), 401, 'request'],
  'a path that is not there': [request('GET /v1/no/such/path', own), 404, 'request'],
  'an object that is not there': [request('GET /v1/domains/nothing.jp', own), 404, 'request'],
  'a method that is not there': [request('PROPFIND /v1/domains', own), 405, 'request'],
  'OPTIONS of a path': [request('OPTIONS /v1/domains'), 405, 'request'],
  'OPTIONS of everything': [request('OPTIONS *'), 404, 'request'],
  HEAD: [request('HEAD /v1/domains', own), 200, 'request'],
  'a body that is too large': [
    request('POST /v1/domains', { ...own, 'content-length': large.length }, large),
    413,
    'request',
  ],
  'a body that is no JSON': [
    request('POST /v1/domains', { ...own, 'content-length': 1 }, '{'),
    400,
    'request',
  ],
  'a body of another type': [
    request('POST /v1/domains', { ...own, 'content-type': 'text/plain', 'content-length': 1 }, 'x'),
    415,
    'request',
  ],
  'a path that cannot be decoded': [request('GET /v1/domains/%zz', own), 400, 'request'],
  'an expectation that nobody knows': [
    request('GET /v1/domains', { ...own, expect: 'more' }),
    200,
    'request',
  ],
  'HTTP/1.1 without Host': ['GET /v1/domains HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'request'],
  'headers that are too large': [
    request('GET /v1/domains', { ...own, x: 'a'.repeat(20_000) }),
    431,
    'not a request',
  ],
  'what is no HTTP': ['nonsense\r\n\r\n', 400, 'not a request'],
  'two lengths': [
    request('POST /v1/domains', { ...own, 'transfer-encoding': 'chunked', 'content-length': 5 }),
    400,
    'not a request',
  ],
}

describe('the id of the request', () => {
  for (const [name, [text, status, msg]] of Object.entries(cases)) {
    test(`${name}: is in the answer and in the log`, async () => {
      const answer = await answerTo(text)
      assert.ok(answer.startsWith(`HTTP/1.1 ${status} `), answer)
      const id = /^x-request-id: (\S+)\r$/im.exec(answer)?.[1]
      assert.match(id ?? '', /^[0-9a-f-]{36}$/)
      const line = await lineWith((one) => one.reqId === id && one.msg === msg)
      assert.equal(line.address, '127.0.0.1')
      if (status >= 400) assert.ok(answer.includes(`"instance":"urn:uuid:${id}"`), answer)
    })
  }
})

test('a request whose client goes before the answer has a line too, with what came of it', async () => {
  const blocker = await service.admin.connect()
  await blocker.query(`begin; select from app.domains where name = 'example.jp' for update`)
  const socket = connect(Number(port), '127.0.0.1')
  const body = JSON.stringify({ locked: true })
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  socket.write(request('PATCH /v1/domains/example.jp', { ...own, 'content-length': body.length }, body))
  await until(async () => (await service.admin.query(waiting)).rows.length > 0)
  socket.destroy()
  await once(socket, 'close')
  await blocker.query('rollback')
  blocker.release()
  const line = await lineWith(({ method, msg }) => method === 'PATCH' && msg === 'request')
  assert.deepEqual([line.aborted, line.status, line.subject], [true, 200, 'hr-system'])
  const { rows } = await service.admin.query(`select locked from app.domains where name = 'example.jp'`)
  assert.deepEqual(rows, [{ locked: true }])
})

test('a client that goes in the middle of its body is no fault of the service', async () => {
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(
    request('PUT /v1/mailboxes/half@example.jp', { ...own, expect: '100-continue', 'content-length': 100 }),
  )
  await once(socket, 'data') // 100 Continue: it has the headers
  socket.write('{')
  socket.destroy()
  const line = await lineWith(({ method, msg }) => method === 'PUT' && msg === 'request')
  assert.deepEqual([line.aborted, line.status, line.problem], [true, 400, 'invalid-request'])
})
