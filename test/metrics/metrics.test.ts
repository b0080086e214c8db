import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { buildApp } from '../../src/app.ts'
import { openDatabase } from '../../src/database.ts'
import { createIssuer } from '../../src/issuer.ts'
import { serveMetrics } from '../../src/metrics/loopback.ts'
import { createMetrics } from '../../src/metrics/registry.ts'
import { createWorkQueue } from '../../src/work-queue.ts'
import { createClient, outcome } from '../support/client.ts'
import { startIdentityProvider } from '../support/identity-provider.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const scraper = await service.as({ scopes: ['metrics:read'], subject: 'prometheus' })

before(async () => {
  await admin.post('/v1/domains', { name: 'example.jp' })
  await admin.post('/v1/mailboxes', { address: 'taro.yamada@example.jp', generate_password: true })
})

/** One line of the text format: `name{labels} value`. */
async function scrape(
  client = scraper,
): Promise<{ text: string; value(sample: string): number | undefined }> {
  const reply = await client.get('/metrics')
  assert.equal(reply.status, 200)
  const text = String(reply.body)
  const samples = new Map(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
  return { text, value: (sample) => samples.get(sample) }
}

/** A sample that is written after the answer is sent, so it may be a moment late. */
async function until(sample: string, expected: number): Promise<void> {
  for (const end = Date.now() + 5_000; Date.now() < end; ) {
    if ((await scrape()).value(sample) === expected) return
  }
  assert.equal((await scrape()).value(sample), expected, sample)
}

const requests = 'mailwright_http_request_duration_seconds'

describe('who may read them', () => {
  test('a caller with metrics:read and all domains', async () => {
    const { headers } = await scraper.get('/metrics')
    assert.match(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
    assert.equal(headers.get('cache-control'), 'no-store')
    const nobody = createClient(service.url, '')
    const powerless = await service.as({ scopes: ['server:read', 'audit:read'] })
    const limited = await service.as({ domains: ['example.jp'] })
    assert.equal(outcome(await nobody.get('/metrics')), '401 unauthenticated')
    assert.equal(outcome(await powerless.get('/metrics')), '403 insufficient-scope')
    assert.equal(outcome(await limited.get('/metrics')), '403 insufficient-scope')
    assert.equal(outcome(await scraper.get('/metrics?name=x')), '400 invalid-request')
    assert.equal(outcome(await admin.post('/metrics', {})), '405 method-not-allowed')
    const events = service.log.map((line) => JSON.parse(line).event).filter(Boolean)
    assert.deepEqual(events, ['unauthenticated', 'forbidden', 'forbidden'])
  })

  test('nobody while the keys of the issuer cannot be had', async () => {
    const provider = await startIdentityProvider()
    const token = await provider.sign({ scope: 'metrics:read' })
    await provider.stop()
    const issuer = createIssuer({ issuer: provider.issuer, audience: 'mailwright' })
    const { db, derivations, keys } = service
    const app = await buildApp({ db, derivations, auth: { keys, issuer, domainsClaim: 'domains' } })
    after(() => app.close())
    const client = createClient(await app.listen({ port: 0, host: '127.0.0.1' }), token)
    assert.equal(outcome(await client.get('/metrics')), '503 unavailable')
  })
})

describe('what they say', () => {
  test('how long the requests of a route took, by method and class of status', async () => {
    for (let i = 0; i < 3; i++) await admin.get('/v1/domains/example.jp')
    await admin.get('/v1/domains/nothing.jp')
    await admin.get('/no/such/path')
    const labels = 'method="GET",route="/v1/domains/:domain"'
    await until(`${requests}_count{${labels},status_class="2xx"}`, 3)
    await until(`${requests}_count{${labels},status_class="4xx"}`, 1)
    await until(`${requests}_count{method="GET",route="none",status_class="4xx"}`, 1)
    await until(`${requests}_bucket{le="30",${labels},status_class="2xx"}`, 3)
    const { value } = await scrape()
    const sum = value(`${requests}_sum{${labels},status_class="2xx"}`) ?? 0
    assert.ok(sum > 0 && sum < 60)
  })

  test('problems by code, those that reach no route included', async () => {
    const before = (await scrape()).value('mailwright_problems_total{code="invalid-request"}') ?? 0
    await fetch(new URL('/v1/domains/%zz', service.url))
    await until('mailwright_problems_total{code="invalid-request"}', before + 1)
    await until('mailwright_problems_total{code="domain-not-found"}', 1)
  })

  test('security events by name, from zero', async () => {
    const { value } = await scrape()
    assert.equal(value('mailwright_security_events_total{event="names-probed"}'), 0)
    const before = value('mailwright_security_events_total{event="unauthenticated"}') ?? 0
    await createClient(service.url, 'garbage').get('/v1/domains')
    await until('mailwright_security_events_total{event="unauthenticated"}', before + 1)
  })

  test('the connections of the pool', async () => {
    const { value } = await scrape()
    const state = (word: string) => value(`mailwright_database_connections{state="${word}"}`) ?? -1
    assert.ok(state('idle') >= 1 && state('used') >= 0)
    assert.equal(value('mailwright_database_connections_max'), 20)
    assert.equal(value('mailwright_database_waiting'), 0)
    assert.equal(value('mailwright_database_up'), 1)
  })

  test('what runs, since when, and how the process is', async () => {
    const { text, value } = await scrape()
    assert.match(text, /^mailwright_build_info\{version="\d+\.\d+\.\d+",node="v\d+\.\d+\.\d+"\} 1$/m)
    assert.ok((value('process_start_time_seconds') ?? 0) <= Date.now() / 1000)
    assert.ok((value('process_resident_memory_bytes') ?? 0) > 10_000_000)
    assert.ok((value('nodejs_eventloop_lag_p99_seconds') ?? -1) >= 0)
  })

  test('nothing that names a domain, a person or a caller', async () => {
    await admin.get('/v1/mailboxes/taro.yamada@example.jp')
    await admin.get('/v1/accounts/taro.yamada')
    await admin.get('/v1/mailboxes?domain=example.jp&prefix=taro')
    const { text } = await scrape()
    for (const word of ['example', 'taro', 'yamada', 'prometheus', '127.0.0.1'])
      assert.ok(!text.includes(word), word)
  })
})

test('passwords that are hashed, wait and were refused', async () => {
  const derivations = createWorkQueue({ concurrency: 1, maxWaiting: 1 })
  const { db, keys } = service
  const app = await buildApp({ db, derivations, auth: { keys, domainsClaim: 'mailwright_domains' } })
  after(() => app.close())
  const client = createClient(await app.listen({ port: 0, host: '127.0.0.1' }), admin.token)
  const turns = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const work = turns.map(({ promise }) => derivations.run(() => promise))
  const refused = await client.put('/v1/accounts/taro.yamada/password', { generate_password: true })
  assert.equal(outcome(refused), '503 busy')
  const { value } = await scrape(client)
  const figures = ['running', 'waiting', 'refused_total'].map((word) => value(`mailwright_passwords_${word}`))
  assert.deepEqual(figures, [1, 1, 1])
  for (const { resolve } of turns) resolve()
  await Promise.all(work)
  const later = await scrape(client)
  assert.deepEqual(
    ['running', 'waiting', 'refused_total'].map((word) => later.value(`mailwright_passwords_${word}`)),
    [0, 0, 1],
  )
})

test('jobs by their state', async () => {
  const other = await startService()
  await other.admin.query(`select graphile_worker.add_job('remove-mail', '{}', run_at => now() - interval '1 hour'),
    graphile_worker.add_job('remove-mail', '{}'),
    graphile_worker.add_job('remove-mail', '{}', run_at => now() + interval '1 hour'),
    graphile_worker.add_job('given-up', '{}', max_attempts => 1)`)
  await other.admin.query(`update graphile_worker._private_jobs set attempts = 1 where max_attempts = 1`)
  const { value } = await scrape(await other.as())
  const count = (task: string, state: string) => value(`mailwright_jobs{task="${task}",state="${state}"}`)
  assert.deepEqual([count('remove-mail', 'waiting'), count('remove-mail', 'scheduled')], [2, 1])
  assert.deepEqual([count('given-up', 'failed'), count('given-up', 'waiting')], [1, undefined])
})

test('are there while the database is not, and say so', async (t) => {
  const db = openDatabase('postgres://127.0.0.1:1/nothing') // nothing listens on port 1 (RFC 6335: tcpmux)
  t.after(() => db.destroy())
  const { url, stop } = await serveMetrics(createMetrics({ db, derivations: service.derivations }), {
    host: '127.0.0.1',
    port: 0,
  })
  t.after(stop)
  const text = await (await fetch(url)).text()
  assert.match(text, /^mailwright_database_up 0$/m)
  assert.doesNotMatch(text, /^mailwright_jobs\{/m)
})

test('a scrape does not wait for a database that hangs', async () => {
  const other = await startService()
  const blocker = await other.admin.connect()
  await blocker.query('begin; lock table graphile_worker._private_jobs in access exclusive mode')
  const { value } = await scrape(await other.as())
  assert.equal(value('mailwright_database_up'), 0)
  await blocker.query('rollback')
  blocker.release()
})
