import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type Client, createClient, outcome, type Reply } from '../support/client.ts'
import { startReplica, startService } from '../support/service.ts'

const limit = 10
const service = await startService({ limits: { nameTaken: limit } })
const replica = await startReplica(service, { nameTaken: limit })
const admin = await service.as()

before(async () => {
  for (const name of ['own.jp', 'foreign.jp']) await admin.post('/v1/domains', { name })
  await admin.post('/v1/mailboxes', { address: 'taken@foreign.jp', generate_password: true })
  await admin.post('/v1/mailboxes', { address: 'mine@own.jp', generate_password: true })
})

function reseller(subject: string): Promise<Client> {
  return service.as({ subject, domains: ['own.jp'] })
}

function take(client: Client, name = 'taken'): Promise<Reply> {
  return client.post('/v1/mailboxes', { address: `${name}@own.jp`, generate_password: true })
}

function tally(replies: Reply[]): Record<string, number> {
  return Object.fromEntries(
    Map.groupBy(replies, outcome)
      .entries()
      .map(([key, { length }]) => [key, length]),
  )
}

async function useUp(client: Client): Promise<void> {
  for (let i = 0; i <= limit; i++) await take(client)
}

function eventsOf(subject: string): string[] {
  const lines = service.log.map((line) => JSON.parse(line))
  return lines.filter((line) => line.subject === subject && line.event).map(({ event }) => event)
}

test('a limited caller learns so many taken names a minute, and then nothing', async () => {
  const client = await reseller('curious')
  for (let i = 0; i < limit; i++) assert.equal(outcome(await take(client)), '409 name-taken')
  const refused = await take(client)
  assert.equal(outcome(refused), '429 too-many-requests')
  const wait = Number(refused.headers.get('retry-after'))
  assert.ok(wait >= 1 && wait <= 60)
  assert.match(refused.headers.get('ratelimit') ?? '', /^"name-taken";r=0;t=\d+$/)
  assert.equal(refused.headers.get('ratelimit-policy'), `"name-taken";q=${limit};w=60`)
})

test('from then on a free name is answered as a taken one, and is not taken', async () => {
  const client = await reseller('patient')
  await useUp(client)
  const withoutTimes = ({ status, body: { instance: _, detail, ...body } }: Reply) => ({
    status,
    body,
    detail: detail.replace(/\d+ seconds/, '* seconds'),
  })
  const [free, taken] = [await take(client, 'free'), await take(client)]
  assert.deepEqual(withoutTimes(free), withoutTimes(taken))
  assert.equal(
    outcome(await client.put('/v1/mailboxes/free@own.jp', { generate_password: true })),
    '429 too-many-requests',
  )
  const { rows } = await service.admin.query(`select from app.accounts where name = 'free'`)
  assert.equal(rows.length, 0)
})

test('what tells nothing of names goes on', async () => {
  const client = await reseller('working')
  await useUp(client)
  assert.equal((await client.get('/v1/mailboxes/mine@own.jp')).status, 200)
  assert.equal((await client.patch('/v1/mailboxes/mine@own.jp', { locked: false })).status, 200)
  assert.equal((await client.put('/v1/accounts/mine/password', { generate_password: true })).status, 200)
})

test('is counted over all replicas: of many at once exactly as many tell', async () => {
  const { token } = await reseller('parallel')
  const clients = [createClient(service.url, token), createClient(replica, token)]
  const replies = await Promise.all(Array.from({ length: 60 }, (_, i) => take(clients[i % 2]!)))
  assert.deepEqual(tally(replies), { '409 name-taken': limit, '429 too-many-requests': 60 - limit })
})

test('does not count what is no taken name, and callers with all domains not at all', async () => {
  const client = await reseller('tidy')
  const own = await Promise.all(Array.from({ length: limit + 5 }, () => take(client, 'mine')))
  assert.deepEqual(tally(own), { '409 mailbox-exists': limit + 5 })
  assert.equal(outcome(await take(client)), '409 name-taken')
  const all = await Promise.all(Array.from({ length: limit + 5 }, () => take(admin)))
  assert.deepEqual(tally(all), { '409 name-taken': limit + 5 })
})

test('each caller has its own, whatever token it comes with', async () => {
  await useUp(await reseller('one'))
  assert.equal(outcome(await take(await reseller('one'))), '429 too-many-requests')
  assert.equal(outcome(await take(await reseller('other'))), '409 name-taken')
})

test('a minute later it is full again', async () => {
  const client = await reseller('tomorrow')
  for (let i = 0; i < limit; i++) await take(client)
  await service.admin.query(
    `update app.rate_counters set started_at = started_at - interval '1 minute' where subject = 'tomorrow'`,
  )
  assert.equal(outcome(await take(client)), '409 name-taken')
  const { rows } = await service.admin.query(`select count from app.rate_counters where subject = 'tomorrow'`)
  assert.deepEqual(rows, [{ count: 1 }])
})

test('using it up is a security event, told once', async () => {
  await useUp(await reseller('prober'))
  await take(await reseller('prober'))
  const events = eventsOf('prober')
  assert.equal(events.filter((event) => event === 'names-probed').length, 1)
  assert.equal(events.filter((event) => event === 'rate-limited').length, 2)
})

test('a burst of conflicts is a security event, told once, also of a caller with all domains', async () => {
  const client = await service.as({ subject: 'looping' })
  for (let i = 0; i < 59; i++) await client.post('/v1/domains', { name: 'own.jp' })
  assert.deepEqual(eventsOf('looping'), [])
  for (let i = 0; i < 5; i++) await client.post('/v1/domains', { name: 'own.jp' })
  assert.deepEqual(eventsOf('looping'), ['conflict-burst'])
})

test('the candidates that a create passes over count, each of them, tried or done', async () => {
  const client = await reseller('chooser')
  const choose = (name: string, query = '') =>
    client.post(`/v1/mailboxes${query}`, {
      domain: 'own.jp',
      name_candidates: ['taken', 'mine', name],
      no_password: true,
    })
  // a trial tells of the free one as well
  for (let i = 0; i < 2; i++) assert.equal(outcome(await choose('chosen', '?dry_run=true')), '201')
  for (let i = 0; i < 2; i++) assert.equal(outcome(await choose(`chosen${i}`)), '201')
  assert.equal(outcome(await choose('none')), '201', 'the tenth is told, and with it one more')
  assert.equal(outcome(await choose('another')), '429 too-many-requests')
})

test('names that nobody takes count too, so that many requests at once tell no more', async () => {
  const client = await reseller('burst')
  const probe = (name: string, query = '') =>
    client.post(`/v1/mailboxes${query}`, { address: `${name}@own.jp`, ...(query && { no_password: true }) })
  const replies = await Promise.all(
    Array.from({ length: 60 }, (_, i) =>
      i % 2 === 0 ? probe(`nobody${i}`) : probe(`nobody${i}`, '?dry_run=true'),
    ),
  )
  const counts = tally(replies)
  assert.equal((counts['422 password-required'] ?? 0) + (counts['201'] ?? 0), limit)
  assert.equal(counts['429 too-many-requests'], 60 - limit)
  const { rows } = await service.admin.query(`select from app.mailboxes where name like 'nobody%'`)
  assert.equal(rows.length, 0)
})

test('a domain that is full tells of free names no more often', async () => {
  await admin.patch('/v1/domains/own.jp', { mailbox_limit: 0 })
  const client = await reseller('full')
  const probes = Array.from({ length: 2 * limit }, (_, i) =>
    client.post('/v1/mailboxes', { address: `free${i}@own.jp`, no_password: true }),
  )
  const counts = tally(await Promise.all(probes))
  await admin.patch('/v1/domains/own.jp', { mailbox_limit: null })
  assert.deepEqual(counts, { '409 mailbox-limit-reached': limit, '429 too-many-requests': limit })
})

test('what no name would be made with tells nothing of the name', async () => {
  const client = await reseller('in vain')
  const long = 'a-name-that-is-too-long-for-a-local-account'
  await admin.post('/v1/mailboxes', {
    address: `${long}@foreign.jp`,
    authentication: 'password_file',
    generate_password: true,
  })
  for (const wish of [
    { address: 'taken@own.jp', authentication: 'active_directory' },
    { address: 'nobody@own.jp', authentication: 'active_directory' },
    { address: `${long}@own.jp` },
    { address: `${long}s@own.jp` },
  ]) {
    const expected = wish.authentication ? '422 authentication-unavailable' : '422 invalid-name'
    assert.equal(outcome(await client.post('/v1/mailboxes', { ...wish, no_password: true })), expected)
  }
})

test('tokens that a token makes share its budget', async () => {
  const { body } = await admin.post('/v1/tokens', {
    label: 'Reseller',
    domains: ['own.jp'],
    scopes: ['mailboxes:write', 'tokens:write'],
  })
  const first = createClient(service.url, body.token)
  await useUp(first)
  const child = await first.post('/v1/tokens', { label: 'Job', scopes: ['mailboxes:write'] })
  assert.equal(outcome(await take(createClient(service.url, child.body.token))), '429 too-many-requests')
})
