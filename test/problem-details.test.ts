import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { catalogue } from '../src/catalogue.ts'
import { byConstraint } from '../src/problem-details.ts'
import { createClient, outcome, type Reply } from './support/client.ts'
import { assertValid } from './support/contract.ts'
import { startService } from './support/service.ts'

const service = await startService()
const { admin, log } = service
const client = await service.as()

before(async () => {
  await client.post('/v1/domains', { name: 'problems.example' })
  await client.post('/v1/mailboxes', { address: 'user1@problems.example', generate_password: true })
})

test('every code of the catalogue has a page that says what to do', async () => {
  for (const [code, { status, title }] of Object.entries(catalogue)) {
    const { status: answered, headers, body } = await client.get(`/problems/${code}`)
    assert.equal(answered, 200)
    assert.match(headers.get('content-type') ?? '', /^text\/html/)
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/)
    assert.ok(
      body.includes(`/problems/${code}<`) && body.includes(`>${status}<`) && body.includes(`>${title}<`),
    )
  }
})

test('what is no code has no page', async () => {
  for (const code of ['nothing', 'toString', '__proto__', 'constructor', '', '%3Cscript%3E', '..%2Flivez']) {
    assert.equal(outcome(await client.get(`/problems/${code}`)), '404 not-found', code)
  }
})

test('every constraint that has a meaning everywhere is one of the schema', async () => {
  const { rows } = await admin.query<{ name: string }>(
    `select conname as name from pg_constraint where connamespace = 'app'::regnamespace
     union select indexname from pg_indexes where schemaname = 'app'`,
  )
  const names = new Set(rows.map(({ name }) => name))
  assert.deepEqual(
    Object.keys(byConstraint).filter((name) => !names.has(name)),
    [],
  )
})

test('a path that is not there is 404, with and without a token', async () => {
  const stranger = createClient(service.url, '')
  for (const path of [
    '/',
    '/nothing',
    '/v1',
    '/v1/nothing',

    '/v1/domains/a/b',
    '/V1/domains',
  ])
    for (const caller of [client, stranger])
      assert.equal(outcome(await caller.get(path)), '404 not-found', path)
})

test('a method that a path does not have is 405 and names the others', async () => {
  const refused: [method: 'post' | 'put' | 'patch' | 'delete', path: string, allow: string][] = [
    ['put', '/v1/domains', 'GET, HEAD, POST'],
    ['post', '/v1/domains/problems.example', 'DELETE, GET, HEAD, PATCH'],
    ['post', '/v1/mailboxes/user1@problems.example', 'DELETE, GET, HEAD, PATCH, PUT'],
    ['patch', '/v1/accounts/user1/password', 'PUT'],
    ['delete', '/v1/server', 'GET, HEAD, PATCH'],
    ['delete', '/livez', 'GET, HEAD'],
    ['post', '/problems/busy', 'GET, HEAD'],
  ]
  for (const [method, path, allow] of refused) {
    const reply = await client[method](path)
    assert.equal(outcome(reply), '405 method-not-allowed', path)
    assert.equal(reply.headers.get('allow'), allow, path)
  }
  const reply = await client.get('/v1/accounts/user1/password')
  assert.equal(reply.headers.get('allow'), 'PUT')
})

test('HEAD answers as GET does, without a body', async () => {
  for (const path of [
    '/v1/domains/problems.example',
    '/v1/mailboxes',
    '/v1/server',
    '/livez',
    '/v1/domains/none.example',
  ]) {
    const headers = { authorization: `Bearer ${client.token}` }
    const [get, head] = await Promise.all(
      ['GET', 'HEAD'].map((method) => fetch(new URL(path, service.url), { method, headers })),
    )
    assert.equal(head?.status, get?.status, path)
    for (const name of ['content-type', 'content-length', 'etag'])
      assert.equal(head?.headers.get(name), get?.headers.get(name), `${path} ${name}`)
    assert.equal(await head?.text(), '')
  }
  const refused = await fetch(new URL('/v1/domains', service.url), { method: 'HEAD' })
  assert.equal(refused.status, 401)
})

/** What comes over the wire for these octets; the service closes what it cannot read. */
async function exchange(octets: string): Promise<string> {
  const { port, hostname } = new URL(service.url)
  const socket = connect(Number(port), hostname).setEncoding('latin1')
  let answer = ''
  socket.on('data', (text: string) => {
    answer += text
  })
  socket.on('error', () => {}) // it may be closed while the rest is still being sent
  socket.write(octets, 'latin1')
  await once(socket, 'close')
  return answer
}

test('what is no HTTP is answered with a problem too', async () => {
  const malformed = {
    'no request line': 'hello\r\n\r\n',
    'an unknown version': 'GET /livez HTTP/9.9\r\n\r\n',
    'a header without a colon': 'GET /livez HTTP/1.1\r\nhost: a\r\nbroken\r\n\r\n',
    'a folded header': 'GET /livez HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n',
    'a control character': 'GET /livez HTTP/1.1\r\nhost: a\r\nx: \u0000\r\n\r\n',
    'both lengths':
      'POST /v1/domains HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    'two lengths': 'POST /v1/domains HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}',
    'a length that is no number': 'POST /v1/domains HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n{}',
    'a broken chunk': 'POST /v1/domains HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
    'a space in the path': 'GET /v1/do mains HTTP/1.1\r\nhost: a\r\n\r\n',
  }
  for (const [what, octets] of Object.entries(malformed)) {
    const [head = '', body = ''] = (await exchange(octets)).split('\r\n\r\n')
    assert.match(head, /^HTTP\/1\.1 4\d\d /, what)
    assert.match(head, /\r\ncontent-type: application\/problem\+json/i, what)
    const problem = JSON.parse(body)
    assertValid('openapi#/components/schemas/Problem', problem, what)
    assert.equal(problem.type, '/problems/invalid-request', what)
    assert.ok(head.startsWith(`HTTP/1.1 ${problem.status} `), what)
  }
  const [head = '', body = ''] = (
    await exchange(`GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: a\r\n\r\n`)
  ).split('\r\n\r\n')
  assert.match(head, /^HTTP\/1\.1 431 /)
  assertValid('openapi#/components/schemas/Problem', JSON.parse(body), 'too large headers')
  assert.ok(service.log.some((line) => line.includes(JSON.parse(body).instance.replace('urn:uuid:', ''))))
  assert.equal((await client.get('/livez')).status, 200)
})

test('a path that is not encoded properly is 400, one that is too long for a name is 404', async () => {
  const bad = ['/%', '/%zz', '/v1/domains/%zz', '/v1/domains/%e3%81', '/v1/accounts/%ff', '/problems/%c0%80']
  for (const path of bad) {
    const reply = await fetch(new URL(path, service.url), {
      headers: { authorization: `Bearer ${client.token}` },
    })
    assert.equal(reply.headers.get('content-type'), 'application/problem+json', path)
    assert.match(reply.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/)
    const problem = (await reply.json()) as Reply['body']
    assert.deepEqual([reply.status, problem.type], [400, '/problems/invalid-request'], path)
    assert.equal(problem.instance, `urn:uuid:${reply.headers.get('x-request-id')}`)
  }
  const long = 'a'.repeat(8_000)
  assert.equal(outcome(await client.get(`/v1/domains/${long}`)), '404 domain-not-found')
  assert.equal(outcome(await client.get(`/v1/mailboxes/${long}@problems.example`)), '404 mailbox-not-found')
  assert.equal(outcome(await client.get(`/v1/accounts/${long}`)), '404 account-not-found')
  assert.equal(outcome(await client.get(`/problems/${long}`)), '404 not-found')
  assert.equal(outcome(await client.get(`/${long}`)), '404 not-found')
  assert.equal(outcome(await client.get('/v1/accounts/a%00b')), '404 account-not-found')
})

const databaseWords =
  /constraint|relation|column|violat|null value|statement|SQL|pg_|app\.|postgres|terminat|Kysely/i

/** What went wrong inside is said to the log and not to the client. */
function assertSilent(reply: Reply): void {
  const { title: _, ...rest } = reply.body
  assert.doesNotMatch(JSON.stringify(rest), databaseWords)
}

/** Changes the database behind the service's back for as long as `work` takes. */
async function while_(change: string, undo: string, work: () => Promise<void>): Promise<void> {
  await admin.query(change)
  try {
    await work()
  } finally {
    await admin.query(undo)
  }
}

test('a rule of the database that the program does not know is a bare 500', async () => {
  const table = 'alter table app.domains'
  await while_(
    `${table} add constraint domains_odd_check check (name not like 'odd%')`,
    `${table} drop constraint domains_odd_check`,
    async () => {
      const reply = await client.post('/v1/domains', { name: 'odd.example' })
      assert.equal(outcome(reply), '500 internal-error')
      assertSilent(reply)
      const line = log.find((text) => text.includes(reply.body.instance.replace('urn:uuid:', '')))
      assert.match(line ?? '', /"level":50.*domains_odd_check/)
    },
  )
})

test('a setting that is gone and a table that is gone are bare 500s', async () => {
  await while_(
    'alter table app.settings rename to gone',
    'alter table app.gone rename to settings',
    async () => {
      for (const path of ['/v1/server', '/v1/mailboxes/user1@problems.example']) {
        const reply = await client.get(path)
        assert.equal(outcome(reply), '500 internal-error')
        assertSilent(reply)
      }
    },
  )
  await while_(
    'alter table app.migrations rename to gone',
    'alter table app.gone rename to migrations',
    async () => {
      const reply = await client.get('/readyz')
      assert.ok(reply.status >= 500)
      assertSilent(reply)
    },
  )
})

test('a migration that is missing makes it unready', async () => {
  await while_(
    `update app.migrations set name = 'x' || name`,
    'update app.migrations set name = substr(name, 2)',
    async () => {
      const reply = await client.get('/readyz')
      assert.equal(outcome(reply), '503 unavailable')
      assert.match(reply.headers.get('retry-after') ?? '', /^\d+$/)
    },
  )
  assert.equal((await client.get('/readyz')).status, 200)
})

test('a lost connection is 503 with Retry-After, and the next request works', async (t) => {
  const unheard: Error[] = [] // each would end the process
  const hear = (error: Error) => unheard.push(error)
  process.on('uncaughtException', hear)
  t.after(() => process.off('uncaughtException', hear))
  await whileHeld(async () => {
    const reply = client.patch('/v1/domains/problems.example', { locked: true })
    await untilOneWaits()
    await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and application_name = 'mailwright'`,
    )
    assertPassing(await reply, '503 unavailable')
  })
  assert.equal((await client.patch('/v1/domains/problems.example', { locked: false })).status, 200)
  assert.deepEqual(unheard, [])
})

test('a statement that is given up is 503 with Retry-After and leaves nothing behind', async () => {
  const calls = [
    () => client.patch('/v1/domains/problems.example', { locked: true }),
    () => client.post('/v1/mailboxes', anotherMailbox),
  ]
  await whileHeld(async () => {
    for (const call of calls) {
      const reply = call()
      await untilOneWaits()
      // SQLSTATE 57014, as statement_timeout raises it
      await admin.query(
        `select pg_cancel_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'mailwright' and wait_event_type = 'Lock'`,
      )
      assertPassing(await reply, '503 busy')
    }
  })
  assert.equal((await client.get('/v1/domains/problems.example')).body.locked, false)
  assert.equal(outcome(await client.get('/v1/accounts/user2')), '404 account-not-found')
  assert.equal((await client.post('/v1/mailboxes', anotherMailbox)).status, 201)
})
const anotherMailbox = { address: 'user2@problems.example', generate_password: true }

function assertPassing(reply: Reply, expected: string): void {
  assert.equal(outcome(reply), expected)
  assert.match(reply.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
  assertSilent(reply)
}

/** Whoever writes to the domain waits. */
async function whileHeld(work: () => Promise<void>): Promise<void> {
  const blocker = await admin.connect()
  await blocker.query('begin')
  await blocker.query(`select from app.domains where name = 'problems.example' for update`)
  await work().finally(() => blocker.query('rollback'))
  blocker.release()
}

async function untilOneWaits(): Promise<void> {
  for (const deadline = Date.now() + 10_000; Date.now() < deadline; ) {
    const { rows } = await admin.query(
      `select from pg_stat_activity where datname = current_database() and application_name = 'mailwright'
       and wait_event_type = 'Lock'`,
    )
    if (rows.length > 0) return
    await sleep(5)
  }
  assert.fail('no statement waits for a lock')
}
