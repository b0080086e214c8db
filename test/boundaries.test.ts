import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { type Client, createClient, outcome } from './support/client.ts'
import { startService } from './support/service.ts'

// Ways round the limits of a caller that pass over more than one operation.

const service = await startService()
const api = await service.as()
let limited: Client

before(async () => {
  for (const name of ['a.jp', 'b.jp', 'c.jp']) await api.post('/v1/domains', { name })
  for (const address of ['one@a.jp', 'two@a.jp', 'there@c.jp'])
    await api.post('/v1/mailboxes', { address, generate_password: true })
  limited = await service.as({ domains: ['a.jp'] })
})

const refusedOnly = { forward_to: ['two@a.jp'] }

describe("mail for a role, which a certificate authority's letter may be", () => {
  test('is sent on by whoever may use role names', async () => {
    const secret = { generate_password: true, allow_role_name: true }
    const { body } = await api.post('/v1/mailboxes', { address: 'admin@a.jp', ...secret })
    const weak = await service.as({ scopes: ['mailboxes:write', 'forwarding:write'] })
    for (const mailbox of ['admin@a.jp', body.id]) {
      const refused = await weak.patch(`/v1/mailboxes/${mailbox}`, refusedOnly)
      assert.equal(outcome(refused), '403 insufficient-scope')
    }
    assert.equal(outcome(await weak.patch('/v1/mailboxes/one@a.jp', refusedOnly)), '200')
    assert.equal(outcome(await api.patch('/v1/mailboxes/admin@a.jp', refusedOnly)), '200')
  })

  test("leaves a limited caller's domains by forwarding alone", async () => {
    const weak = await service.as({ scopes: ['domains:write'], domains: ['a.jp'] })
    const outside = { postmaster_address: 'me@elsewhere.example' }
    assert.equal(outcome(await weak.patch('/v1/domains/a.jp', outside)), '403 insufficient-scope')
    assert.equal(outcome(await weak.patch('/v1/domains/a.jp', { postmaster_address: 'one@a.jp' })), '200')
    assert.equal(outcome(await limited.patch('/v1/domains/a.jp', outside)), '200')
    await api.patch('/v1/server', { forward_allowed_domains: ['partner.example'] })
    const other = { postmaster_address: 'me@other.example' }
    assert.equal(outcome(await limited.patch('/v1/domains/a.jp', other)), '422 forwarding-refused')
    await api.patch('/v1/server', { forward_allowed_domains: null })
  })
})

test('broken_targets tells a limited caller nothing of what lies behind its own aliases', async () => {
  const shown = []
  for (const name of ['there', 'absent']) {
    await limited.post('/v1/aliases', { address: `to-${name}@a.jp`, targets: [`${name}@c.jp`] })
    const { body } = await limited.post('/v1/aliases', {
      address: `via-${name}@a.jp`,
      targets: [`to-${name}@a.jp`],
    })
    shown.push(body.broken_targets)
  }
  assert.deepEqual(shown, [[], []])
  assert.deepEqual((await api.get('/v1/aliases/via-absent@a.jp')).body.broken_targets, ['to-absent@a.jp'])
})

describe("a domain that stands for a limited caller's, and is not its own", () => {
  before(() => api.post('/v1/domains', { name: 'others.jp', alias_of: 'a.jp' }))

  test('tells it nothing by how far its aliases reach', async () => {
    for (const domain of ['others.jp', 'nothing.jp']) {
      for (let i = 1; i <= 6; i++) {
        const alias = { address: `${domain[0]}${i}@a.jp`, targets: [`${domain[0]}${i + 1}@${domain}`] }
        assert.equal(outcome(await limited.post('/v1/aliases', alias)), '201', alias.address)
      }
    }
  })

  test('tells it nothing by what its renames redirect', async () => {
    const seen = []
    for (const domain of ['others.jp', 'nothing.jp']) {
      const name = `to-${domain[0]}`
      await limited.post('/v1/mailboxes', { address: `${name}@a.jp`, no_password: true })
      await limited.post('/v1/aliases', { address: `via-${name}@a.jp`, targets: [`${name}@${domain}`] })
      await limited.post(`/v1/mailboxes/${name}@a.jp/rename`, { address: `${name}.on@a.jp` })
      seen.push((await limited.get(`/v1/aliases/via-${name}@a.jp`)).body.targets)
    }
    assert.deepEqual(seen, [['to-o@others.jp'], ['to-n@nothing.jp']])
  })
})

test('a rename takes no name back from an alias that lies in a domain of others', async () => {
  await api.post('/v1/mailboxes', { address: 'left@c.jp', no_password: true })
  await api.post('/v1/mailboxes/left@c.jp/rename', { address: 'came@a.jp' })
  const alias = async () => (await api.get('/v1/aliases/left@c.jp')).body
  const before = await alias()
  const back = { address: 'left@a.jp' }
  const refused = await limited.post('/v1/mailboxes/came@a.jp/rename', back)
  assert.equal(outcome(refused), '409 name-taken')
  assert.ok(!('conflict' in refused.body))
  assert.deepEqual(await alias(), before)
  assert.equal(outcome(await api.post('/v1/mailboxes/came@a.jp/rename', back)), '200')
  assert.equal((await alias()).holds_name, false)
})

test('an answer that was kept is shown to those only who may see what the path names', async () => {
  const headers = { 'idempotency-key': randomUUID() }
  const subject = 'counter'
  const [own, other] = [
    await service.as({ subject, domains: ['a.jp'] }),
    await service.as({ subject, domains: ['b.jp'] }),
  ]
  const { body } = await api.get('/v1/mailboxes/two@a.jp')
  for (const mailbox of ['two@a.jp', body.id]) {
    const path = `/v1/mailboxes/${mailbox}/restore`
    headers['idempotency-key'] = randomUUID()
    assert.equal(outcome(await own.post(path, undefined, { headers })), '200')
    assert.equal(outcome(await other.post(path, undefined, { headers })), '404 mailbox-not-found')
    const again = await own.post(path, undefined, { headers })
    assert.equal(again.headers.get('idempotency-replayed'), 'true')
  }
})

test('nor a token that was made for the domains of another token of the subject', async () => {
  const headers = { 'idempotency-key': randomUUID() }
  const wish = { label: 'Job', scopes: ['mailboxes:read'] }
  const as = (domains: '*' | string[]) => service.as({ subject: 'maker', domains })
  const [wide, own, other] = [await as(['a.jp', 'b.jp']), await as(['a.jp']), await as('*')]
  assert.equal(outcome(await wide.post('/v1/tokens', wish, { headers })), '201')
  const refused = await own.post('/v1/tokens', wish, { headers })
  assert.equal(outcome(refused), '422 idempotency-key-reused')
  assert.deepEqual([refused.headers.get('location'), refused.headers.get('etag')], [null, null])
  const again = await other.post('/v1/tokens', wish, { headers })
  assert.deepEqual([outcome(again), again.headers.get('idempotency-replayed')], ['201', 'true'])
})

describe('who gets the name of a domain after another holder', () => {
  test('is not within the tokens of that one, nor shown what it did', async () => {
    await api.post('/v1/domains', { name: 'handed.jp' })
    const wish = {
      label: 'First holder',
      domains: ['a.jp', 'handed.jp'],
      scopes: ['mailboxes:write', 'audit:read'],
    }
    const { body } = await api.post('/v1/tokens', wish)
    const first = createClient(service.url, body.token)
    await first.post('/v1/mailboxes', { address: 'old@handed.jp', generate_password: true })
    await api.delete('/v1/domains/handed.jp?mailboxes=delete&expect=1&purge=true')
    // the service hears of it from Postgres, within a second
    for (
      const end = Date.now() + 10_000;
      outcome(await first.get('/v1/mailboxes')) !== '401 unauthenticated';
    )
      assert.ok(Date.now() < end, 'the token is still good')
    assert.equal((await api.get(`/v1/tokens/${body.id}`)).body.state, 'revoked')
    const told = await api.get(`/v1/audit-events?object=${body.id}`)
    assert.equal(told.body.items[0].action, 'token.revoke')
    const second = await service.as({ domains: ['a.jp', 'handed.jp'] })
    assert.deepEqual((await second.get('/v1/audit-events?domain=handed.jp')).body.items, [], 'nobody has it')
    await api.post('/v1/domains', { name: 'handed.jp' })
    for (const state of ['active', 'revoked'])
      assert.deepEqual((await second.get(`/v1/tokens?state=${state}`)).body.items, [])
    assert.equal(outcome(await second.get(`/v1/tokens/${body.id}`)), '404 token-not-found')
    assert.equal(outcome(await second.delete(`/v1/tokens/${body.id}`)), '404 token-not-found')
    const events = (await second.get('/v1/audit-events?domain=handed.jp')).body.items
    assert.deepEqual(
      events.map(({ action }: { action: string }) => action),
      ['domain.create'],
    )
  })

  test('also where the last of its mailboxes took it along', async () => {
    await api.post('/v1/domains', { name: 'late.jp' })
    const { body } = await api.post('/v1/tokens', {
      label: 'Late',
      domains: ['late.jp'],
      scopes: ['domains:read'],
    })
    await api.post('/v1/mailboxes', { address: 'last@late.jp', generate_password: true })
    await api.delete('/v1/domains/late.jp?mailboxes=delete&expect=1')
    assert.equal((await api.get(`/v1/tokens/${body.id}`)).body.state, 'active')
    await api.delete('/v1/mailboxes/last@late.jp?purge=true')
    assert.equal((await api.get(`/v1/tokens/${body.id}`)).body.state, 'revoked')
  })
})

test('the audit shows the domain that one stands for to those only who may see it', async () => {
  await api.post('/v1/domains', { name: 'brand.jp', alias_of: 'c.jp' })
  const aliasOf = async (client: Client) =>
    (await client.get('/v1/audit-events?object=brand.jp')).body.items[0].after.alias_of
  assert.equal(await aliasOf(await service.as({ domains: ['brand.jp'] })), null)
  assert.equal(await aliasOf(await service.as({ domains: ['brand.jp', 'c.jp'] })), 'c.jp')
})

test('a cursor with a day that there is not is refused as any other', async () => {
  for (const at of ['2026-02-30T00:00:00.000000Z', '0000-01-01T00:00:00.000000Z']) {
    const cursor = Buffer.from(JSON.stringify({ after: `${at} ${randomUUID()}` })).toString('base64url')
    assert.equal(outcome(await api.get(`/v1/audit-events?cursor=${cursor}`)), '400 invalid-request', at)
  }
})

test('a rename tells of each alias and mailbox that it redirects, be it one or several', async () => {
  for (const [round, count] of [1, 3].entries()) {
    const from = `moved${round}@a.jp`
    await api.post('/v1/mailboxes', { address: from, generate_password: true })
    for (let i = 0; i < count; i++) {
      await api.post('/v1/aliases', { address: `group${round}${i}@a.jp`, targets: [from] })
      const sending = { address: `fan${round}${i}@a.jp`, no_password: true, forward_to: [from] }
      await api.post('/v1/mailboxes', sending)
    }
    const since = new Date().toISOString()
    const to = `moved${round}.on@a.jp`
    assert.equal(outcome(await api.post(`/v1/mailboxes/${from}/rename`, { address: to })), '200')
    for (const [action, member] of [
      ['alias.update', 'targets'],
      ['mailbox.update', 'forward_to'],
    ] as const) {
      const { items } = (await api.get(`/v1/audit-events?action=${action}&since=${since}`)).body
      assert.equal(items.length, count, action)
      for (const { before: had, after: has } of items)
        assert.deepEqual([had[member], has[member]], [[from], [to]])
    }
  }
})
