import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { recordEvent } from '../../src/audit/record.ts'
import { outcome, type Reply } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const api = await service.as()
const reader = await service.as({ scopes: ['audit:read'], subject: 'auditor' })
const path = '/v1/audit-events'

interface Event {
  id: string
  at: string
  action: string
  object: string
}

const brief = ({ body }: Reply) => body.items.map(({ action, object }: Event) => `${action} ${object}`)
const list = async (query = '') => brief(await reader.get(`${path}?${query}`))

const secret = { generate_password: true }
let begun: string

before(async () => {
  await api.patch('/v1/server', { scram_iterations: 4096 })
  await api.post('/v1/domains', { name: 'a.jp' })
  await api.post('/v1/domains', { name: 'b.jp' })
  begun = (await reader.get(path)).body.items[0].at
  const hr = await service.as({ subject: 'hr' })
  await hr.post('/v1/mailboxes', { address: 'anna@a.jp', ...secret })
  await hr.post('/v1/mailboxes', { address: 'bob@b.jp', ...secret })
  await api.post('/v1/accounts', { name: 'b.jp', ...secret }) // named as a domain is
  await api.patch('/v1/mailboxes/anna@a.jp', { locked: true })
  await api.patch('/v1/accounts/bob', { disabled: true })
})

const all = [
  'account.update bob',
  'mailbox.update anna@a.jp',
  'account.create b.jp',
  'mailbox.create bob@b.jp',
  'mailbox.create anna@a.jp',
  'domain.create b.jp',
  'domain.create a.jp',
  'server.update ',
]

describe('the list', () => {
  test('has the newest first', async () => {
    assert.deepEqual(await list(), all)
  })

  test('is filtered by each part of an event, and by several', async () => {
    const expected: [string, string[]][] = [
      ['object=anna@a.jp', ['mailbox.update anna@a.jp', 'mailbox.create anna@a.jp']],
      ['object=ANNA@A.jp', ['mailbox.update anna@a.jp', 'mailbox.create anna@a.jp']],
      ['object=bob', ['account.update bob']],
      ['object=b.jp', ['account.create b.jp', 'domain.create b.jp']],
      ['object=', ['server.update ']],
      ['object=anna', []],
      ['subject=hr', ['mailbox.create bob@b.jp', 'mailbox.create anna@a.jp']],
      ['subject=nobody', []],
      ['domain=b.jp', ['account.update bob', 'mailbox.create bob@b.jp', 'domain.create b.jp']],
      ['domain=nowhere.jp', []],
      ['domain=..', []],
      ['action=domain.create', ['domain.create b.jp', 'domain.create a.jp']],
      ['action=domain.create&object=a.jp&subject=test&domain=a.jp', ['domain.create a.jp']],
      ['action=domain.create&domain=b.jp&object=a.jp', []],
    ]
    for (const [query, events] of expected) assert.deepEqual(await list(query), events, query)
  })

  test('is filtered by time: from one moment, and until before another', async () => {
    const next = new Date(Date.parse(begun) + 1).toISOString()
    assert.deepEqual(await list(`since=${next}`), all.slice(0, 5))
    assert.deepEqual(await list(`until=${next}`), all.slice(5))
    assert.deepEqual(await list(`since=${next}&until=${next}`), [])
    assert.deepEqual(await list('since=9999-12-31T23:59:59Z'), [])
    assert.equal(outcome(await reader.get(`${path}?since=2026-02-30T25:00:00Z`)), '400 invalid-request')
  })

  test('comes in pages that have each event once, whatever is written meanwhile', async () => {
    for (const filter of ['', 'domain=b.jp', 'subject=test']) {
      const whole = (await reader.get(`${path}?${filter}`)).body.items.map(({ id }: Event) => id)
      const ids: string[] = []
      let query = `${filter}&limit=1`
      for (let next: string | null = ''; next !== null; query = `${filter}&limit=1&cursor=${next}`) {
        const { body, headers } = await reader.get(`${path}?${query}`)
        ids.push(...body.items.map(({ id }: Event) => id))
        assert.equal(headers.has('link'), body.next !== null)
        next = body.next
        await api.patch('/v1/accounts/bob', { display_name: `Bob ${ids.length}${filter}` })
      }
      assert.deepEqual(ids, whole)
    }
  })

  test('refuses a cursor that it did not give out', async () => {
    const cursors = [
      'x',
      '{}',
      '{"after":"x"}',
      '{"after":"2026-99-99T00:00:00.000000Z 0"}',
      '{"after":""}',
    ].map((text) => Buffer.from(text).toString('base64url'))
    const impossible = JSON.stringify({ after: `2026-99-24T08:00:00.000000Z ${crypto.randomUUID()}` })
    for (const cursor of [...cursors, Buffer.from(impossible).toString('base64url')]) {
      assert.equal(outcome(await reader.get(`${path}?cursor=${cursor}`)), '400 invalid-request')
    }
  })

  test('needs the scope', async () => {
    const other = await service.as({ scopes: ['server:write', 'mailboxes:write', 'tokens:write'] })
    assert.equal(outcome(await other.get(path)), '403 insufficient-scope')
  })
})

test('whoever polls with `as_of` misses no event that was under way', async () => {
  let asOf = ''
  await service.db.transaction().execute(async (tx) => {
    await recordEvent(tx, { action: 'account.create', object: 'late', domain: null, after: {} })
    await sql`select pg_sleep(1.2)`.execute(tx) // longer than what `as_of` stays behind the clock anyway
    await api.post('/v1/accounts', { name: 'early', ...secret })
    const { body } = await reader.get(path)
    assert.equal(body.items[0].object, 'early')
    asOf = body.as_of
  })
  const since = await list(`since=${asOf}`)
  assert.ok(since.includes('account.create late'), String(since))
  assert.ok(since.includes('account.create early'), 'what was shown may come again')
})

test('a limited caller sees the events of its domains, and nothing of others', async () => {
  const events = async (domains: string[], query = '') => {
    const limited = await service.as({ scopes: ['audit:read'], domains })
    return brief(await limited.get(`${path}?${query}`))
  }
  const ofA = ['mailbox.update anna@a.jp', 'mailbox.create anna@a.jp', 'domain.create a.jp']
  assert.deepEqual(await events(['a.jp']), ofA)
  assert.deepEqual(await events(['a.jp', 'nowhere.jp']), ofA)
  assert.deepEqual(await events(['a.jp'], 'domain=a.jp'), ofA)
  for (const query of [
    'domain=b.jp',
    'object=bob@b.jp',
    'object=bob',
    'object=b.jp',
    'object=',
    'action=server.update',
  ]) {
    assert.deepEqual(await events(['a.jp'], query), [], query)
  }
  assert.deepEqual(await events([]), [])
  const both = (await events(['a.jp', 'b.jp'], 'limit=1000')).filter(
    (one: string) => !one.startsWith('account.update'),
  )
  assert.deepEqual(both, [
    'mailbox.update anna@a.jp',
    'mailbox.create bob@b.jp',
    'mailbox.create anna@a.jp',
    'domain.create b.jp',
    'domain.create a.jp',
  ])
})

test('what an account was before it had a mailbox is not told to the holder of its domain', async () => {
  await api.post('/v1/accounts', { name: 'carl', ...secret, display_name: 'Of another company' })
  const body = { address: 'carl@a.jp', create_account: false, account: { display_name: 'Carl' } }
  assert.equal((await api.post('/v1/mailboxes', body)).status, 201)
  const limited = await service.as({ scopes: ['audit:read'], domains: ['a.jp'] })
  const { body: page } = await limited.get(path)
  assert.equal(page.items[0].object, 'carl@a.jp')
  assert.doesNotMatch(JSON.stringify(page), /Of another company/)
})
