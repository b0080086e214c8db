import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify from 'fastify'
import { problemDetails } from '../../src/problem-details.ts'
import { addressBudget } from '../../src/rate-limits/addresses.ts'
import { createClient, outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService({ limits: { configurations: 3 } })
const admin = await service.as()
await admin.post('/v1/domains', { name: 'example.jp' })
const places = ['/mail/config-v1.1.xml', '/.well-known/autoconfig/mail/config-v1.1.xml']

test('an address may ask for so many client configurations a minute, found or not, in both places', async () => {
  const program = createClient(service.url, '')
  const refused = '429 too-many-requests'
  const seen = []
  for (const [i, domain] of ['example.jp', 'nothing.jp', 'example.jp', 'example.jp', 'nothing.jp'].entries())
    seen.push(outcome(await program.get(`${places[i % 2]}?emailaddress=user05@${domain}`)))
  assert.deepEqual(seen, ['200', '404 configuration-not-found', '200', refused, refused])
  const { headers, body } = await program.get(places[0]!)
  const wait = Number(headers.get('retry-after'))
  assert.ok(wait >= 1 && wait <= 60)
  assert.equal(headers.get('ratelimit-policy'), '"configurations";q=3;w=60')
  assert.match(headers.get('ratelimit') ?? '', /^"configurations";r=0;t=\d+$/)
  assert.equal(headers.get('cache-control'), 'no-store')
  assert.match(body.detail, /^At most 3 client configurations a minute/)

  const events = service.log.map((line) => JSON.parse(line)).filter(({ event }) => event === 'rate-limited')
  assert.deepEqual(
    events.map(({ budget, address, subject }) => [budget, address, subject]),
    Array(3).fill(['configurations', '127.0.0.1', undefined]),
  )
  assert.doesNotMatch(service.log.join(''), /user05@/)
  assert.equal((await admin.get('/v1/domains')).status, 200, 'callers with a token have budgets of their own')
  assert.equal((await program.get('/livez')).status, 200)
})

test('is of one address, of IPv6 of one /64, and whoever sends X-Forwarded-For has none more', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(problemDetails)
  await app.register(addressBudget, { name: 'things', what: 'things', limit: 1 })
  app.get('/', async () => 'done')
  let others = 0
  const ask = async (remoteAddress: string) => {
    others += 1
    const headers = { 'x-forwarded-for': `192.0.2.${others}` }
    return (await app.inject({ url: '/', remoteAddress, headers })).statusCode
  }
  const asked: [string, number][] = [
    ['198.51.100.7', 200],
    ['198.51.100.7', 429],
    ['::ffff:198.51.100.7', 429],
    ['198.51.100.8', 200],
    ['2001:db8:0:1::1', 200],
    ['2001:db8:0:1:ffff::2', 429],
    ['2001:db8:0:2::1', 200],
    ['fe80::1%eth0', 200],
  ]
  for (const [address, expected] of asked) assert.equal(await ask(address), expected, address)
})
