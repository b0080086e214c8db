import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, createClient, type Reply } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const admin = await service.as({ subject: 'hr-system' })
const secret = 'correct horse battery'

before(async () => {
  await admin.post('/v1/domains', { name: 'example.jp' })
})

interface Line {
  reqId: string
  msg: string
  event?: string
  [member: string]: unknown
}

/** The lines about one request; its own is written after the answer is sent, so it may be a moment late. */
async function linesOf(reply: Reply): Promise<{ line: Line; others: Line[]; all: string }> {
  const id = reply.headers.get('x-request-id') ?? ''
  for (const until = Date.now() + 5_000; Date.now() < until; await sleep(5)) {
    const texts = service.log.filter((text) => text.includes(id))
    const lines = texts.map((text) => JSON.parse(text) as Line)
    const own = lines.filter(({ msg }) => msg === 'request')
    assert.ok(own.length <= 1, 'one line for each request')
    if (own[0]) return { line: own[0], others: lines.filter((one) => one !== own[0]), all: texts.join('') }
  }
  throw new Error(`no line for the request ${id}`)
}

function tokenId({ token }: Client): string {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).jti
}

test('writes one line: who did what, with what outcome', async () => {
  const reply = await admin.get('/v1/domains/example.jp')
  const { line, others } = await linesOf(reply)
  const { level, time, pid, hostname, ms, ...rest } = line
  assert.deepEqual(rest, {
    reqId: reply.headers.get('x-request-id'),
    method: 'GET',
    route: '/v1/domains/:domain',
    status: 200,
    address: '127.0.0.1',
    subject: 'hr-system',
    token: tokenId(admin),
    msg: 'request',
  })
  assert.ok(typeof ms === 'number' && ms >= 0)
  assert.equal(level, 30)
  assert.deepEqual(others, [])
})

test('the id of the request is in the header, in the problem and in the log', async () => {
  const reply = await admin.get('/v1/domains/nothing.jp')
  const { line } = await linesOf(reply)
  assert.equal(reply.body.instance, `urn:uuid:${line.reqId}`)
  assert.equal(line.problem, 'domain-not-found')
})

test('names neither the query, nor the body, nor an address, nor the token', async () => {
  const address = 'taro.yamada@example.jp'
  const created = await admin.post('/v1/mailboxes', {
    address,
    password: secret,
    account: { display_name: 'Taro Yamada', external_id: '31415' },
  })
  const replies = [
    created,
    await admin.get(`/v1/mailboxes/${address}`),
    await admin.get('/v1/mailboxes?prefix=taro&external_id=31415'),
    await admin.put('/v1/accounts/taro.yamada/password', { password: secret }),
    await admin.post('/v1/mailboxes', { address, password: secret }),
    await admin.post('/v1/mailboxes', { address: `taro yamada@example.jp`, password: secret }),
    await admin.get(`/v1/mailboxes/nobody.${address}`),
    await admin.get(`/no/such/path/${address}?prefix=taro`),
    await admin.post(`/v1/mailboxes/${address}`),
  ]
  assert.deepEqual(
    replies.map(({ status }) => status),
    [201, 200, 200, 204, 409, 422, 404, 404, 405],
  )
  for (const reply of replies) {
    const { all } = await linesOf(reply)
    for (const word of ['taro', 'Yamada', '31415', secret, admin.token]) assert.ok(!all.includes(word), all)
  }
})

test('a path without a route is not repeated', async () => {
  const { line } = await linesOf(await admin.get('/v1/no/such/path'))
  assert.deepEqual([line.route, line.status, line.problem], ['none', 404, 'not-found'])
})

test('keeps the id that the client gave the request, where it is harmless', async () => {
  const given = async (id: string) => {
    const reply = await admin.get('/v1/domains', { headers: { 'x-request-id': id } })
    assert.notEqual(reply.headers.get('x-request-id'), id)
    const { line, all } = await linesOf(reply)
    return { kept: line.client_request_id, all }
  }
  for (const id of ['a', 'Job-7.step_2', 'x'.repeat(64)]) assert.equal((await given(id)).kept, id)
  for (const id of ['x'.repeat(65), 'a b', 'a"b', '\u00e9', 'a;b', '<script>', '=1+1', 'a,b']) {
    const { kept, all } = await given(id)
    assert.equal(kept, undefined)
    assert.ok(!all.includes(JSON.stringify(id)))
  }
})

test('is JSON, whatever the client sends', async () => {
  const forged = { headers: { 'user-agent': 'x","level":60,"msg":"forged', 'x-forwarded-for': '192.0.2.1' } }
  const { line, all } = await linesOf(await admin.get('/v1/domains?x=%0A%7B%22level%22%3A60%7D', forged))
  assert.equal(all.trimEnd().split('\n').length, 1)
  assert.equal(line.address, '127.0.0.1') // no proxy is trusted here
  assert.ok(!all.includes('forged'))
})

test('a refused caller leaves a security event with its address, and without its token', async () => {
  const anonymous = await linesOf(await createClient(service.url, '').get('/v1/domains'))
  assert.deepEqual(
    anonymous.others.map(({ event, address }) => [event, address]),
    [['unauthenticated', '127.0.0.1']],
  )
  const forged = `${(await service.token()).slice(0, -4)}AAAA`
  const refused = await linesOf(await createClient(service.url, forged).get('/v1/domains'))
  const [event] = refused.others
  assert.deepEqual([event?.event, event?.address], ['unauthenticated', '127.0.0.1'])
  assert.match(String(event?.reason), /signature/)
  assert.ok(!refused.all.includes(forged))
  assert.equal(refused.line.problem, 'unauthenticated')
  assert.ok(!('subject' in refused.line))
})

test('names the id of an expired token, whose signature was good', async () => {
  const token = await service.keys.sign({
    subject: 'hr-system',
    scopes: ['domains:read'],
    domains: '*',
    expiresInSeconds: -60,
    tokenId: 'token-of-yesterday',
  })
  const { others } = await linesOf(await createClient(service.url, token).get('/v1/domains'))
  assert.deepEqual(
    others.map(({ event, token_id, address }) => ({ event, token_id, address })),
    [{ event: 'unauthenticated', token_id: 'token-of-yesterday', address: '127.0.0.1' }],
  )
})

test('a caller without the right leaves a security event with its subject and token id', async () => {
  const powerless = await service.as({ scopes: ['domains:read'], subject: 'intern' })
  const limited = await service.as({ domains: ['example.jp'], subject: 'intern' })
  const replies: [Client, Reply][] = [
    [powerless, await powerless.post('/v1/domains', { name: 'example.org' })],
    [limited, await limited.get('/v1/server')],
    [limited, await limited.patch('/v1/domains/example.jp', { mailbox_limit: 1 })], // refused by the handler
  ]
  for (const [client, reply] of replies) {
    const { line, others } = await linesOf(reply)
    assert.deepEqual(
      others.map(({ event, subject, token_id, address }) => ({ event, subject, token_id, address })),
      [{ event: 'forbidden', subject: 'intern', token_id: tokenId(client), address: '127.0.0.1' }],
    )
    assert.deepEqual([line.status, line.problem], [403, 'insufficient-scope'])
  }
})

test('a limited caller that asks for what it cannot see leaves a security event, whether it is there or not', async () => {
  const limited = await service.as({ domains: ['other.jp'], subject: 'intern' })
  for (const path of ['/v1/domains/example.jp', '/v1/domains/nothing.jp', '/v1/accounts/nobody']) {
    const { others } = await linesOf(await limited.get(path))
    assert.deepEqual(
      others.map(({ event, subject, token_id, address }) => ({ event, subject, token_id, address })),
      [{ event: 'not-found', subject: 'intern', token_id: tokenId(limited), address: '127.0.0.1' }],
    )
  }
  assert.deepEqual((await linesOf(await admin.get('/v1/domains/nothing.jp'))).others, [])
})

test('probes leave no lines', async () => {
  const probe = createClient(service.url, '')
  const replies = [await probe.get('/livez'), await probe.get('/readyz')]
  await linesOf(await admin.get('/v1/domains')) // a later request, so theirs would be there
  const ids = replies.map(({ headers }) => headers.get('x-request-id') ?? '')
  assert.ok(ids.every((id) => id !== '' && !service.log.some((text) => text.includes(id))))
})
