import assert from 'node:assert/strict'
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { outcome } from '../support/client.ts'
import { domainOf, fillMailboxes, nameOf } from '../support/many.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const many = { mailboxes: 100_000, big: 'big.example' }

before(() => fillMailboxes(service.admin, many))

const waitMs = 30_000

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + waitMs; !(await holds()); await sleep(20)) {
    assert.ok(Date.now() < end, `${what}, not within ${waitMs} ms`)
  }
}

/** What Postgres says of the connections of exports. */
async function sessions(): Promise<{ pid: number; state: string }[]> {
  const { rows } = await service.admin.query(
    `select pid, state from pg_stat_activity where datname = current_database() and application_name = 'mailwright export'`,
  )
  return rows
}

const none = () => until('the connection of an export is gone', async () => (await sessions()).length === 0)

/** The headers and whatever had come with them; the rest waits until it is read. */
async function begin(path: string, accept: string, token = admin.token): Promise<IncomingMessage> {
  const request = http.get(new URL(path, service.url), {
    headers: { accept, authorization: `Bearer ${token}` },
    agent: false,
  })
  request.on('error', () => {}) // the end of a broken answer, which its reader is told as well
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

/** How many lines come, what the last one is, and whether the list ended as it should. */
async function drain(response: IncomingMessage): Promise<{ lines: number; last: string; whole: boolean }> {
  let lines = 0
  let last = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      const parts = (last + chunk).split('\n')
      last = parts.at(-1) ?? ''
      lines += parts.length - 1
    }
  } catch {
    return { lines, last, whole: false }
  }
  return { lines, last, whole: response.complete }
}

const lines = 'application/x-ndjson'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What is really held, and not only not yet thrown away. */
function held(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / 1024 ** 2
}

// First, while the memory of this process is small.
test('needs no more memory for a hundred thousand than for what is under way', async () => {
  const [start, rss] = [held(), process.memoryUsage().rss / 1024 ** 2]
  const response = await begin('/v1/mailboxes', lines)
  let most = 0
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    const before = bytes
    bytes += chunk.length
    if (Math.floor(bytes / 20e6) > Math.floor(before / 20e6)) most = Math.max(most, held() - start)
  }
  assert.ok(bytes > 100e6 && response.complete)
  assert.ok(most > 0 && most < 40, `${Math.round(most)} MB are held; the rows are 113 MB as text`)
  const grown = process.memoryUsage().rss / 1024 ** 2 - rss
  assert.ok(grown < 400, `the process grew by ${Math.round(grown)} MB`)
})

test('shows one moment, whatever is written while it is read', async () => {
  const response = await begin('/v1/mailboxes', lines)
  const [{ state } = {}] = await sessions()
  assert.equal(state === 'active' || state === 'idle in transaction', true)
  const gone = `${nameOf(7)}@${domainOf(many, 7)}`
  await admin.delete(`/v1/mailboxes/${gone}`)
  await admin.post('/v1/mailboxes', { address: 'zoe@big.example', no_password: true })
  await admin.patch(`/v1/mailboxes/${nameOf(8)}@${domainOf(many, 8)}`, { quota_bytes: 77 })
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  assert.equal(response.complete, true)
  const items = text.split('\n').slice(0, -1)
  assert.equal(items.length, many.mailboxes)
  assert.ok(items.some((item) => item.includes(`"${gone}"`)))
  assert.ok(!items.some((item) => item.includes('zoe@big.example')))
  assert.equal(JSON.parse(items.find((item) => item.includes(`"${nameOf(8)}"`)) ?? '{}').quota_bytes, null)
  assert.deepEqual(
    items.map((item) => /"name":"([^"]*)"/.exec(item)?.[1]),
    Array.from({ length: many.mailboxes }, (_, i) => nameOf(i + 1)).sort(),
  )
  await admin.delete('/v1/mailboxes/zoe@big.example?purge=true&account=delete')
  await admin.post(`/v1/mailboxes/${gone}/restore`)
  await none()
})

test('a client that takes nothing is not read for', async () => {
  const response = await begin('/v1/mailboxes', lines)
  await until('the reading rests', async () => (await sessions())[0]?.state === 'idle in transaction')
  const used = process.memoryUsage().rss
  await sleep(200)
  assert.ok(process.memoryUsage().rss - used < 50 * 1024 ** 2)
  assert.equal((await sessions())[0]?.state, 'idle in transaction')
  response.destroy()
  await none()
})

test('a client that goes frees the connection', async () => {
  for (const path of ['/v1/mailboxes', '/v1/accounts']) {
    const response = await begin(path, 'text/csv')
    await once(response, 'readable')
    assert.equal((await sessions()).length, 1)
    response.destroy()
    await none()
    const id = response.headers['x-request-id']
    await until('the log tells of it', async () =>
      service.log.some((line) => line.includes(`"${id}"`) && JSON.parse(line).aborted === true),
    )
  }
})

test('what Postgres ends half-way never looks whole', async () => {
  const response = await begin('/v1/mailboxes', lines)
  const [{ pid } = {}] = await sessions()
  await service.admin.query('select pg_terminate_backend($1)', [pid])
  const { lines: count, whole } = await drain(response)
  assert.equal(whole, false)
  assert.ok(count < many.mailboxes)
  const id = response.headers['x-request-id']
  await until('the log tells of it', async () =>
    service.log.some((line) => line.includes(`"${id}"`) && JSON.parse(line).problem === 'unavailable'),
  )
})

test('nor does it to a client of HTTP/1.0, which takes the end of the connection for the end', async () => {
  const { port, hostname } = new URL(service.url)
  const socket = connect(Number(port), hostname)
  let received = 0
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    socket.on('end', () => resolve('end'))
  })
  socket.write(
    `GET /v1/mailboxes HTTP/1.0\r\naccept: ${lines}\r\nauthorization: Bearer ${admin.token}\r\n\r\n`,
  )
  await once(socket, 'readable')
  const [{ pid } = {}] = await sessions()
  await service.admin.query('select pg_terminate_backend($1)', [pid])
  socket.on('data', (chunk) => {
    received += chunk.length
  })
  assert.equal(await ended, 'ECONNRESET')
  assert.ok(received < 100_000_000)
  await none()
})

test('only so many are given out at once, and the others of the service go on', async () => {
  const held = [await begin('/v1/mailboxes', lines), await begin('/v1/accounts', lines)]
  const third = await admin.get('/v1/accounts', { headers: { accept: lines } })
  assert.equal(outcome(third), '429 too-many-requests')
  assert.match(third.headers.get('retry-after') ?? '', /^\d+$/)
  const others = await Promise.all(['b', 'c'].map((subject) => service.as({ subject })))
  const { token = '' } = others[0] ?? {}
  held.push(await begin('/v1/mailboxes', lines, token), await begin('/v1/mailboxes', 'text/csv', token))
  assert.deepEqual(
    held.map(({ statusCode }) => statusCode),
    [200, 200, 200, 200],
  )
  const fifth = await others[1]?.get('/v1/aliases', { headers: { accept: lines } })
  assert.equal(fifth && outcome(fifth), '503 busy')
  assert.match(fifth?.headers.get('retry-after') ?? '', /^\d+$/)
  assert.equal(outcome(await admin.get('/v1/mailboxes?limit=1')), '200')
  for (const response of held) response.destroy()
  await none()
  assert.equal(outcome(await admin.get('/v1/accounts?prefix=none', { headers: { accept: lines } })), '200')
})

test('a limited caller gets its own, out of a hundred thousand', async () => {
  const { token } = await service.as({ domains: ['big.example', 'd5.example', 'absent.example'] })
  for (const path of ['/v1/mailboxes', '/v1/accounts']) {
    const { lines: count, whole } = await drain(await begin(path, lines, token))
    assert.deepEqual([count, whole], [many.mailboxes / 10 + 90, true])
  }
})
