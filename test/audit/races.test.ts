import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { createClient } from '../support/client.ts'
import { startRaces } from '../support/races.ts'

const { service, here, race, newDomain, newMailbox, newAccounts, count } = await startRaces()

test('the events of changes that race tell one story, each beginning where the one before ended', async () => {
  const domain = await newDomain()
  const address = await newMailbox(domain)
  const replies = await race(40, (client, i) =>
    client.patch(`/v1/mailboxes/${address}`, { quota_bytes: i + 1, locked: i % 3 === 0 }),
  )
  assert.deepEqual([...new Set(replies.map(({ status }) => status))], [200])
  const { rows } = await service.admin.query(
    `select before, after from app.audit_events where object = $1 and action = 'mailbox.update' order by at`,
    [address],
  )
  let state: Record<string, unknown> = { quota_bytes: null, locked: false }
  for (const { before, after } of rows) {
    for (const [member, value] of Object.entries(before)) assert.deepEqual(state[member], value)
    state = { ...state, ...after }
  }
  assert.equal(rows.length, 40)
  const { body } = await here.get(`/v1/mailboxes/${address}`)
  assert.deepEqual(state, { quota_bytes: body.quota_bytes, locked: body.locked })
})

test('the same of a domain and an account', async () => {
  const domain = await newDomain()
  const [account] = await newAccounts(1)
  await race(20, (client, i) => client.patch(`/v1/domains/${domain}`, { mailbox_limit: i }))
  await race(20, (client, i) => client.patch(`/v1/accounts/${account}`, { display_name: `name ${i}` }))
  for (const [object, member] of [
    [domain, 'mailbox_limit'],
    [account, 'display_name'],
  ] as const) {
    const { rows } = await service.admin.query(
      `select before, after from app.audit_events where object = $1 and action like '%.update' order by at`,
      [object],
    )
    assert.equal(rows.length, 20)
    for (const [i, { before }] of rows.entries()) {
      assert.deepEqual(before[member], i === 0 ? null : rows[i - 1].after[member])
    }
  }
})

test('of many creates, deletes and restores there are as many events as there were changes', async () => {
  const domain = await newDomain()
  const [name] = await newAccounts(1)
  const address = `${name}@${domain}`
  const outcomes = await race(60, (client, i) => {
    if (i % 3 === 0) return client.post('/v1/mailboxes', { address, create_account: false })
    if (i % 3 === 1) return client.delete(`/v1/mailboxes/${address}`)
    return client.post(`/v1/mailboxes/${address}/restore`)
  })
  const created = outcomes.filter(({ status }) => status === 201).length
  const deleted = outcomes.filter(({ status }) => status === 204).length
  const events = (action: string) => count('audit_events', 'object = $1 and action = $2', address, action)
  assert.equal(await events('mailbox.create'), created)
  assert.equal(await events('mailbox.delete'), deleted)
  const restored = await events('mailbox.restore')
  const live = await count('mailboxes', `name = $1 and state = 'active'`, name)
  assert.equal(created + restored - deleted, live)
})

test('everybody stands under their own events, also while passwords wait for their turn', async () => {
  const domain = await newDomain()
  const url = service.url
  const callers = await Promise.all(
    Array.from({ length: 12 }, async (_, i) =>
      createClient(url, await service.token({ subject: `caller-${i}` })),
    ),
  )
  await Promise.all(
    callers.map(async (client, i) => {
      const address = `own${i}-${domain.split('.')[0]}@${domain}`
      const { status } = await client.post('/v1/mailboxes', { address, generate_password: true })
      assert.equal(status, 201)
    }),
  )
  const { rows } = await service.admin.query(
    `select object, subject from app.audit_events where domain = $1 and kind = 'mailbox'`,
    [domain],
  )
  assert.equal(rows.length, 12)
  for (const { object, subject } of rows) assert.equal(`caller-${/^own(\d+)-/.exec(object)?.[1]}`, subject)
})

test('a create, an edit and a deletion of a mailbox are one statement with their event', async (t) => {
  const domain = await newDomain()
  const [name] = await newAccounts(1)
  const address = `${name}@${domain}`
  const sent: string[] = []
  const { query } = pg.Client.prototype
  t.mock.method(pg.Client.prototype, 'query', function (this: pg.Client, ...args: unknown[]) {
    const [first] = args as [string | { text: string }]
    sent.push((typeof first === 'string' ? first : first.text).toLowerCase())
    return Reflect.apply(query, this, args)
  })
  const writesOf = async (send: () => Promise<unknown>) => {
    sent.length = 0
    await send()
    assert.ok(!sent.some((text) => text.startsWith('begin')), 'no transaction of several statements')
    return sent.filter((text) => text.includes('app.audit_events'))
  }
  const writes = [
    ...(await writesOf(() => here.post('/v1/mailboxes', { address, create_account: false }))),
    ...(await writesOf(() => here.patch(`/v1/mailboxes/${address}`, { locked: true }))),
    ...(await writesOf(() => here.delete(`/v1/mailboxes/${address}`))),
  ]
  assert.equal(writes.length, 3)
  for (const text of writes) assert.match(text, /(insert into|update) app\.mailboxes/)
})
