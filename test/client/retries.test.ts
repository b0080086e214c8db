import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { beforeEach, test } from 'node:test'
import {
  createClient,
  createDomain,
  createMailbox,
  deleteDomain,
  ensureMailbox,
  isProblem,
  listDomains,
  type MailwrightOptions,
  setPassword,
  updateDomain,
} from '../../clients/typescript/src/index.ts'
import { type Fault, startFaultyProxy } from '../support/faulty-proxy.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const proxy = await startFaultyProxy(service.url)
const token = await service.token()
const connect = (options: Partial<MailwrightOptions> = {}) =>
  createClient({ url: proxy.url, token, timeoutSeconds: 60, ...options })
const client = connect()
const domain = 'retries.example'
await createDomain({ client, body: { name: domain } })

beforeEach(() => {
  proxy.faults.length = 0
  proxy.seen.length = 0
})

function refused(status: number, code: string, headers: Record<string, string> = {}): Fault {
  const body = JSON.stringify({ type: `/problems/${code}`, title: code, status, instance: 'urn:uuid:0' })
  return { status, body, headers: { 'content-type': 'application/problem+json', ...headers } }
}

const busy = refused(503, 'busy', { 'retry-after': '0' })
const tooMany = (seconds: string) => refused(429, 'too-many-requests', { 'retry-after': seconds })

function create(name: string, options = {}) {
  return createMailbox({
    client,
    body: { address: `${name}@${domain}`, generate_password: true },
    ...options,
  })
}

/** How long the client let pass between two requests that it sent. */
function pause(i: number): number {
  return proxy.seen[i + 1]!.at - proxy.seen[i]!.at
}

test('what is turned away for the moment is sent again after the seconds of Retry-After', async () => {
  proxy.faults.push(tooMany('1'), refused(503, 'unavailable', { 'retry-after': '1' }))
  const { data } = await create('patient')
  assert.equal(data.name, 'patient')
  assert.equal(proxy.seen.length, 3)
  assert.ok(pause(0) >= 999 && pause(1) >= 999, `${pause(0)} ${pause(1)}`) // a timer may end a moment early
})

test('or at the time of Retry-After, where it is a date', async () => {
  const asked = new Date(Date.now() + 2000)
  proxy.faults.push(tooMany(asked.toUTCString()))
  await listDomains({ client })
  assert.equal(proxy.seen.length, 2)
  assert.ok(Date.now() >= asked.setMilliseconds(0) - 1)
})

test('without Retry-After it waits a little longer each time', async () => {
  proxy.faults.push(refused(503, 'busy'), refused(503, 'busy'))
  await listDomains({ client })
  assert.ok(pause(0) >= 499 && pause(1) >= 999, `${pause(0)} ${pause(1)}`)
})

test('what would have to wait for too long fails at once', async () => {
  proxy.faults.push(tooMany('61'))
  await assert.rejects(listDomains({ client }), (error) => isProblem(error, 'too-many-requests'))
  proxy.faults.push(tooMany('2'))
  await assert.rejects(listDomains({ client: connect({ longestWaitSeconds: 1 }) }), { status: 429 })
  assert.equal(proxy.seen.length, 2)
})

test('it gives up in the end, with the last answer', async () => {
  proxy.faults.push(busy, busy, busy)
  await assert.rejects(listDomains({ client: connect({ attempts: 3 }) }), { code: 'busy', status: 503 })
  assert.equal(proxy.seen.length, 3)
})

test('a POST whose answer is lost is done once, and answered as the first time', async () => {
  proxy.faults.push('lose')
  const { data, response } = await create('once')
  assert.equal(response.headers.get('idempotency-replayed'), 'true')
  assert.equal(data.secret_omitted, true)
  assert.equal(proxy.seen.length, 2)
  assert.equal(proxy.seen[0]!.key, proxy.seen[1]!.key)
})

test('every POST has a key of its own, also where one of two requests is sent twice', async () => {
  proxy.faults.push(busy)
  await create('first-key')
  await create('second-key')
  const [first, again, second] = proxy.seen.map(({ key }) => key)
  assert.match(first ?? '', /^[0-9a-f-]{36}$/)
  assert.equal(again, first)
  assert.notEqual(second, first)
})

test('the key of the caller is kept', async () => {
  const key = randomUUID()
  const headers = { 'idempotency-key': key }
  const { data: first } = await create('own-key', { headers })
  const { data: again } = await create('own-key', { headers })
  assert.deepEqual([again.id, again.secret_omitted], [first.id, true])
  assert.deepEqual(
    proxy.seen.map((one) => one.key),
    [key, key],
  )
})

test('while the first request under the key is under way, it waits for that one', async () => {
  proxy.faults.push('lose', refused(409, 'idempotency-key-in-use'))
  const { data } = await create('under-way')
  assert.equal(data.secret_omitted, true)
  assert.equal(proxy.seen.length, 3)
})

test('other conflicts are final', async () => {
  await create('taken')
  await assert.rejects(create('taken'), { code: 'mailbox-exists' })
  assert.equal(proxy.seen.length, 2)
})

test('reading and PUT are repeated where no answer came, or that of a proxy', async () => {
  for (const fault of ['drop', { status: 502 }, { status: 504 }] as const) {
    proxy.faults.push(fault)
    await listDomains({ client })
  }
  proxy.faults.push('lose')
  await setPassword({ client, path: { account: 'taken' }, body: { generate_password: true } })
  assert.equal(proxy.seen.length, 8)
})

test('what may have been done and cannot be done twice is not repeated', async () => {
  await createDomain({ client, body: { name: 'gone.example' } })
  const path = { domain: 'gone.example' }
  proxy.seen.length = 0
  proxy.faults.push(refused(503, 'unavailable', { 'retry-after': '0' }), 'drop', 'drop', 'lose')
  await assert.rejects(deleteDomain({ client, path }), { code: 'unavailable' })
  await assert.rejects(updateDomain({ client, path, body: { locked: true } }), TypeError)
  const conditional = { path: { mailbox: `new@${domain}` }, headers: { 'if-none-match': '*' } }
  await assert.rejects(ensureMailbox({ client, ...conditional, body: { no_password: true } }), TypeError)
  await assert.rejects(deleteDomain({ client, path }), TypeError)
  assert.equal(proxy.seen.length, 4)
})

test('it is repeated where nothing was done', async () => {
  await createDomain({ client, body: { name: 'busy.example' } })
  proxy.faults.push(busy, tooMany('0'))
  await deleteDomain({ client, path: { domain: 'busy.example' } })
  assert.equal(proxy.seen.length, 4)
})

test('an attempt that takes too long is one without an answer', async () => {
  proxy.faults.push('hang')
  await listDomains({ client: connect({ timeoutSeconds: 1 }) })
  assert.ok(proxy.seen.length >= 2)
})

test('the caller can end it, also while it waits', async () => {
  proxy.faults.push(tooMany('30'))
  const stop = new AbortController()
  const request = listDomains({ client, signal: stop.signal })
  while (proxy.seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  setTimeout(() => stop.abort(new Error('enough')), 50)
  await assert.rejects(request, /enough|aborted/)
  assert.equal(proxy.seen.length, 1)
})
