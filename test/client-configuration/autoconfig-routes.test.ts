import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { buildApp } from '../../src/app.ts'
import { openDatabase } from '../../src/database.ts'
import { assertAutoconfig } from '../support/autoconfig.ts'
import { createClient, outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const program = createClient(service.url, '')
const password = 'correct horse battery'
const places = ['/mail/config-v1.1.xml', '/.well-known/autoconfig/mail/config-v1.1.xml']
const [place = ''] = places

before(async () => {
  await admin.patch('/v1/server', { mail_server: 'mail.example.jp', scram_iterations: 4096 })
  for (const domain of [
    { name: 'example.jp' },
    { name: 'other.jp', mail_server: 'mail.other.jp' },
    { name: '例え.jp' },
    { name: 'brand.jp', alias_of: 'example.jp' },
    { name: 'moving.jp', accepts_mail: false },
    { name: 'closed.jp', locked: true },
    { name: 'gone.jp' },
  ])
    assert.equal((await admin.post('/v1/domains', domain)).status, 201)
  for (const name of ['user05', 'locked', 'gone', 'purged'])
    await admin.post('/v1/mailboxes', { address: `${name}@example.jp`, password })
  await admin.patch('/v1/mailboxes/locked@example.jp', { locked: true })
  await admin.delete('/v1/mailboxes/gone@example.jp?account=delete')
  await admin.delete('/v1/mailboxes/purged@example.jp?account=delete&purge=true')
  await admin.post('/v1/mailboxes', { address: 'last@gone.jp', password })
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
})

const askFor = (address: string, path = place) =>
  program.get(`${path}?emailaddress=${encodeURIComponent(address)}`)

/** Status and body of what a program gets that sends this Host. */
async function askHost(host: string, path: string): Promise<{ status: number | undefined; body: string }> {
  const sent = request(new URL(path, service.url), { headers: { host } }).end()
  const [response] = await once(sent, 'response')
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode, body }
}

for (const path of places) {
  test(`${path} has the clear-text login for a program without a token`, async () => {
    const { status, headers, body } = await askFor('user05@example.jp', path)
    assert.deepEqual(
      [status, headers.get('content-type'), headers.get('cache-control')],
      [200, 'text/xml; charset=utf-8', 'no-store'],
    )
    const rest = { authentication: ['password-cleartext'], username: '%EMAILADDRESS%' }
    const hostname = 'mail.example.jp'
    assert.deepEqual(assertAutoconfig(body), {
      version: '1.1',
      id: 'example.jp',
      domains: ['example.jp'],
      displayName: 'example.jp',
      displayShortName: 'example.jp',
      servers: [
        { type: 'imap', hostname, port: 993, socketType: 'SSL', ...rest },
        { type: 'pop3', hostname, port: 995, socketType: 'SSL', ...rest },
        { type: 'smtp', hostname, port: 587, socketType: 'STARTTLS', ...rest },
      ],
    })
  })
}

describe('whether an address exists', () => {
  const addresses = [
    ...[
      'user05',
      'locked',
      'gone',
      'purged',
      'never',
      'postmaster',
      'USER05',
      '"quoted string"',
      'a+b',
      'a@b',
    ],
    ...[`${'x'.repeat(300)}`, '山田', '%EMAILADDRESS%', '<a>&\'"', '\u0000', "' or 1=1 --"],
  ].map((name) => `${name}@example.jp`)

  test('is not told: every address of a domain gets the same bytes', async () => {
    const { body: expected } = await askFor('user05@example.jp')
    for (const address of addresses) {
      const { status, headers, body } = await askFor(address)
      assert.deepEqual([status, body], [200, expected], address)
      assert.deepEqual([...headers.keys()].sort(), expectedHeaders, address)
    }
  })

  test('is not even looked up: nothing but the domain and the settings is read', async () => {
    const blocker = await service.admin.connect()
    await blocker.query('begin')
    await blocker.query('lock table app.accounts, app.addresses, app.mailboxes, app.aliases')
    try {
      for (const address of addresses) assert.equal((await askFor(address)).status, 200, address)
    } finally {
      await blocker.query('rollback')
      blocker.release()
    }
  })
})

const expectedHeaders = [
  ...['cache-control', 'connection', 'content-length', 'content-type', 'date', 'keep-alive'],
  ...['x-content-type-options', 'x-request-id'],
]

test('a domain has its own mail server', async () => {
  const { body } = await askFor('anybody@other.jp')
  assert.deepEqual(
    [...new Set(assertAutoconfig(body).servers.map(({ hostname }) => hostname))],
    ['mail.other.jp'],
  )
})

test('an internationalised domain has logins by its A-labels, whatever was typed', async () => {
  const asked = ['a@例え.jp', 'a@xn--r8jz45g.jp', 'a@XN--R8JZ45G.JP']
  const bodies = await Promise.all(asked.map(async (address) => (await askFor(address)).body))
  assert.equal(new Set(bodies).size, 1)
  const { domains, displayName, servers } = assertAutoconfig(bodies[0])
  assert.deepEqual([domains, displayName], [['xn--r8jz45g.jp'], '例え.jp'])
  assert.equal(servers[0]?.username, '%EMAILLOCALPART%@xn--r8jz45g.jp')
})

test('a locked domain, and one whose mail does not come here yet, are there', async () => {
  for (const domain of ['closed.jp', 'moving.jp']) assert.equal(outcome(await askFor(`a@${domain}`)), '200')
})

test('of all other domains nothing is told', async () => {
  const answers = []
  for (const domain of [
    'nothing.jp',
    'gone.jp',
    'brand.jp',
    'jp',
    '[127.0.0.1]',
    '',
    'a b',
    '..',
    'ex%61mple.jp',
  ]) {
    const reply = await askFor(`user05@${domain}`)
    assert.equal(outcome(reply), '404 configuration-not-found', domain)
    assert.equal(reply.headers.get('cache-control'), 'no-store')
    const { instance: _, ...rest } = reply.body
    answers.push(JSON.stringify(rest))
  }
  assert.equal(new Set(answers).size, 1)
  for (const address of ['', 'example.jp', '@example.jp', 'user05@'])
    assert.equal(outcome(await askFor(address)), '404 configuration-not-found', address)
})

test('without an address the host says which domain is meant', async () => {
  const expected = (await askFor('a@example.jp')).body
  for (const host of ['example.jp', 'autoconfig.example.jp', 'AUTOCONFIG.Example.JP:443']) {
    for (const path of places)
      assert.deepEqual(await askHost(host, path), { status: 200, body: expected }, host)
  }
  for (const host of ['autoconfig.nothing.jp', 'autoconfig.', 'www.example.jp', '[::1]', '127.0.0.1', ''])
    assert.equal((await askHost(host, place)).status, 404, host)
  const hosted = await askHost('autoconfig.other.jp', `${place}?emailaddress=a@example.jp`)
  assert.equal(hosted.body, expected, 'the address says more than the host')
})

test('a request without a host, as HTTP/1.0 has it, names no domain', async () => {
  const { hostname, port } = new URL(service.url)
  const socket = connect(Number(port), hostname).setEncoding('utf8').end(`GET ${place} HTTP/1.0\r\n\r\n`)
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /^HTTP\/1\.1 404 /)
})

test('what programs send besides is passed over; two addresses are refused', async () => {
  assert.equal(outcome(await program.get(`${place}?emailaddress=a@example.jp&v=2&emailhash=x`)), '200')
  for (const path of places) {
    const twice = await program.get(`${path}?emailaddress=a@example.jp&emailaddress=a@other.jp`)
    assert.equal(outcome(twice), '400 invalid-request')
    assert.equal(outcome(await program.post(path, {})), '405 method-not-allowed')
  }
  const head = await fetch(new URL(`${place}?emailaddress=a@example.jp`, service.url), { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-type')], [200, 'text/xml; charset=utf-8'])
})

test('whatever is sent as an address, the answer is a file or that there is none', async () => {
  const domain = fc.oneof(
    fc.constantFrom('example.jp', 'other.jp'),
    fc.string({ unit: 'binary', maxLength: 40 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 40 }), domain, async (local, right) => {
      const reply = await program.get(
        `${place}?${new URLSearchParams({ emailaddress: `${local}@${right}` })}`,
      )
      if (reply.status !== 200) assert.equal(outcome(reply), '404 configuration-not-found')
      else assert.match(reply.body, /^<\?xml .*<\/clientConfig>\n$/s)
    }),
    { numRuns: 60 },
  )
})

test('no address is in the log', () => {
  assert.doesNotMatch(service.log.join(''), /user05@|locked@example|emailaddress/)
})

test('where no clear-text login is taken, there is nothing to tell', async (t) => {
  t.after(() => admin.patch('/v1/server', { require_secure_password: false }))
  await admin.patch('/v1/server', { require_secure_password: true })
  assert.equal(outcome(await askFor('user05@example.jp')), '404 configuration-not-found')
})

/** The service without a Postgres behind it. */
async function startWithoutPostgres(): Promise<string> {
  const db = openDatabase('postgres://127.0.0.1:1/nothing') // nothing listens on port 1 (RFC 6335: tcpmux)
  const auth = { keys: service.keys, domainsClaim: 'mailwright_domains' }
  const app = await buildApp({ db, derivations: service.derivations, auth })
  after(async () => {
    await app.close()
    await db.destroy()
  })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

test('says that it is unavailable without Postgres', async () => {
  const unreachable = createClient(await startWithoutPostgres(), '')
  for (const path of places)
    assert.equal(outcome(await unreachable.get(`${path}?emailaddress=a@example.jp`)), '503 unavailable')
})

test('says that it is busy where Postgres gives up the statement', async () => {
  const blocker = await service.admin.connect()
  await blocker.query('begin')
  await blocker.query('lock table app.domains')
  try {
    const replies = Promise.all(places.map((path) => askFor('a@example.jp', path)))
    let answered = false
    const settled = replies.finally(() => {
      answered = true
    })
    while (!answered) {
      await service.admin.query(
        `select pg_cancel_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'mailwright' and wait_event_type = 'Lock'`,
      )
      await Promise.race([settled, sleep(20)])
    }
    assert.deepEqual((await replies).map(outcome), ['503 busy', '503 busy'])
  } finally {
    await blocker.query('rollback')
    blocker.release()
  }
})

// Last: it breaks the database of this file.
test('says nothing of a fault of its own', async () => {
  await service.admin.query('alter table app.domains rename to gone_domains')
  for (const path of places) {
    const reply = await askFor('a@example.jp', path)
    assert.equal(outcome(reply), '500 internal-error')
    assert.equal(reply.headers.get('cache-control'), 'no-store')
  }
})
