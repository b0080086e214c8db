import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { sql } from 'kysely'
import type { Mailbox } from '../../src/mailboxes/schemas.ts'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['b.jp', 'a.jp', 'absent.jp'] })

// a.jp and b.jp alternate; c.jp is foreign to the limited caller
const names = ['ada', 'bob', 'cat', 'dan', 'eve', 'fay', 'f_z', 'f-y', 'f.x', 'f1']
const home = ['a.jp', 'b.jp', 'c.jp']
const addresses = names.map((name, i) => `${name}@${home[i % 3]}`)

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of home) await admin.post('/v1/domains', { name })
  for (const [i, address] of addresses.toReversed().entries()) {
    const account = { external_id: i % 2 === 0 ? 'even' : null }
    await admin.post('/v1/mailboxes', { address, generate_password: true, account })
  }
  await admin.patch('/v1/mailboxes/bob@b.jp', { locked: true })
  await admin.patch('/v1/mailboxes/cat@c.jp', { locked: true })
  for (const address of ['del1@a.jp', 'del2@c.jp']) {
    await admin.post('/v1/mailboxes', { address, generate_password: true })
    await admin.delete(`/v1/mailboxes/${address}`)
  }
})

const list = async (query: string, caller = admin): Promise<string[]> => {
  const reply = await caller.get(`/v1/mailboxes${query}`)
  assert.equal(reply.status, 200)
  return reply.body.items.map((item: Mailbox) => item.address)
}
/** As the octets of the names say, whatever the language of the server. */
const inOrder = (chosen: string[]) =>
  chosen.toSorted((a, b) => Buffer.compare(Buffer.from(a.split('@')[0]!), Buffer.from(b.split('@')[0]!)))

test('is in the order of the octets of the names', async () => {
  assert.deepEqual(await list(''), inOrder(addresses))
  assert.deepEqual((await list('?prefix=f')).slice(0, 3), ['f-y@b.jp', 'f.x@c.jp', 'f1@a.jp'])
})

const even = addresses.toReversed().filter((_, i) => i % 2 === 0)
const filters: [string, string[]][] = [
  ['?domain=a.jp', addresses.filter((address) => address.endsWith('@a.jp'))],
  ['?domain=A.JP.', addresses.filter((address) => address.endsWith('@a.jp'))],
  ['?domain=absent.jp', []],
  ['?domain=localhost', []],
  ['?domain=', []],
  ['?domain=%00', []],
  ['?prefix=f', addresses.filter((address) => address.startsWith('f'))],
  ['?prefix=f_', ['f_z@a.jp']],
  ['?prefix=f%25', []],
  ['?prefix=F_', ['f_z@a.jp']],
  ['?prefix=', addresses],
  ['?name=eve', ['eve@b.jp']],
  ['?name=EVE', ['eve@b.jp']],
  ['?name=ev', []],
  ['?external_id=even', even],
  ['?external_id=odd', []],
  ['?locked=true', ['bob@b.jp', 'cat@c.jp']],
  ['?locked=false', addresses.filter((address) => !/^(bob|cat)@/.test(address))],
  ['?state=active', addresses],
  ['?state=deleted', ['del1@a.jp', 'del2@c.jp']],
  ['?state=deleted&domain=a.jp', ['del1@a.jp']],
  ['?domain=b.jp&locked=true', ['bob@b.jp']],
  ['?domain=b.jp&prefix=f', addresses.filter((address) => /^f.*@b/.test(address))],
  ['?domain=b.jp&name=ada', []],
  ['?external_id=even&prefix=f', even.filter((address) => address.startsWith('f'))],
  ['?external_id=even&domain=a.jp&locked=false', even.filter((address) => address.endsWith('@a.jp'))],
  ['?prefix=c&locked=true&name=cat&domain=c.jp&state=active', ['cat@c.jp']],
]
for (const [query, expected] of filters) {
  test(`filters by ${query}`, async () => {
    assert.deepEqual(await list(query), inOrder(expected))
    const own = expected.filter((address) => !address.endsWith('@c.jp'))
    assert.deepEqual(await list(query, limited), inOrder(own), 'a limited caller')
  })
}

const refused = [
  ...['state=gone', 'locked=yes', 'locked=', 'sort=name', 'domain=a.jp&domain=b.jp', 'prefix=%00'],
  ...['name=a%00', 'external_id=%00', 'updated_since=yesterday', 'updated_since=2026-11-24'],
  ...['updated_since=', `external_id=${'x'.repeat(201)}`, `prefix=${'x'.repeat(65)}`],
]
for (const query of refused) {
  test(`refuses ?${query.slice(0, 30)}`, async () => {
    const reply = await admin.get(`/v1/mailboxes?${query}`)
    assert.equal(outcome(reply), '400 invalid-request')
    assert.match(reply.body.errors[0].pointer, /^query\//)
  })
}

describe('a limited caller', () => {
  test('gets its domains merged in one order, on pages too', async () => {
    const own = inOrder(addresses.filter((address) => !address.endsWith('@c.jp')))
    for (const limit of [1, 2, 3, 100]) {
      const pages: string[] = []
      for (let next: string | null = ''; next !== null; ) {
        const cursor: string = next === '' ? '' : `&cursor=${next}`
        const { body } = await limited.get(`/v1/mailboxes?limit=${limit}${cursor}`)
        pages.push(...body.items.map((item: Mailbox) => item.address))
        next = body.next
      }
      assert.deepEqual(pages, own, `limit ${limit}`)
    }
  })

  test('gets the same empty list for a foreign and for an unknown domain', async () => {
    const [foreign, unknown] = [
      await limited.get('/v1/mailboxes?domain=c.jp'),
      await limited.get('/v1/mailboxes?domain=unknown.jp'),
    ]
    assert.deepEqual(foreign.body, { items: [], next: null })
    assert.deepEqual(unknown.body, foreign.body)
    assert.deepEqual(await list('?name=cat', limited), [])
  })

  test('without domains sees nothing', async () => {
    const nobody = await service.as({ domains: [] })
    assert.deepEqual((await nobody.get('/v1/mailboxes')).body, { items: [], next: null })
    assert.deepEqual((await nobody.get('/v1/accounts')).body, { items: [], next: null })
    assert.deepEqual((await nobody.get('/v1/domains')).body, { items: [], next: null })
  })
})

test('finds an external id in whatever form of Unicode it is sent', async () => {
  const account = { external_id: 'ガ' }
  const body = { address: 'uni@a.jp', generate_password: true, account }
  const decomposed = account.external_id.normalize('NFD')
  assert.notEqual(decomposed, account.external_id)
  const created = await admin.post('/v1/mailboxes', { ...body, account: { external_id: decomposed } })
  assert.equal(created.body.account.external_id, 'ガ')
  for (const id of [account.external_id, decomposed]) {
    assert.deepEqual(await list(`?external_id=${encodeURIComponent(id)}`), ['uni@a.jp'])
    const accounts = await admin.get(`/v1/accounts?external_id=${encodeURIComponent(id)}`)
    assert.equal(accounts.body.items.length, 1)
  }
})

describe('updated_since', () => {
  test('gives what changed then or later, and as_of for the next poll', async () => {
    const first = await admin.get('/v1/mailboxes?updated_since=2020-01-01T00:00:00Z')
    assert.ok(first.body.items.length > 5)
    const edited = await admin.patch('/v1/mailboxes/eve@b.jp', { quota_bytes: 1 })
    const since = encodeURIComponent(edited.body.updated_at)
    const { body } = await admin.get(`/v1/mailboxes?updated_since=${since}`)
    assert.deepEqual(body.items, [edited.body])
    assert.ok(body.as_of > first.body.as_of)
    assert.ok(Date.parse(body.as_of) <= Date.now())
    const polled = await list(`?updated_since=${encodeURIComponent(first.body.as_of)}`)
    assert.ok(polled.includes('eve@b.jp'))
    assert.equal('as_of' in (await admin.get('/v1/mailboxes')).body, false)
  })

  test('shows deletions with state=deleted', async () => {
    const { body } = await admin.get('/v1/mailboxes?limit=1&updated_since=0000-01-01T00:00:00Z')
    await admin.post('/v1/mailboxes', { address: 'del3@a.jp', generate_password: true })
    await admin.delete('/v1/mailboxes/del3@a.jp')
    const since = encodeURIComponent(body.as_of)
    assert.ok((await list(`?state=deleted&updated_since=${since}`)).includes('del3@a.jp'))
    assert.deepEqual(await list('?updated_since=2999-12-31T23:59:59%2B09:00'), [])
  })

  test('says the same as_of on all pages of one pass', async () => {
    const query = '/v1/mailboxes?updated_since=2020-01-01T00:00:00Z&limit=2'
    const first = await admin.get(query)
    await admin.patch('/v1/mailboxes/ada@a.jp', { quota_bytes: 3 })
    const second = await admin.get(`${query}&cursor=${first.body.next}`)
    assert.equal(second.body.as_of, first.body.as_of)
  })

  test('does not miss a row that a long transaction commits late', async () => {
    // as another replica would: the service's own login, with its transaction open for a while
    let commit = () => {}
    const held = new Promise<void>((resolve) => {
      commit = resolve
    })
    let written = () => {}
    const write = new Promise<void>((resolve) => {
      written = resolve
    })
    const late = service.db.transaction().execute(async (tx) => {
      await sql`select pg_sleep(1.5)`.execute(tx) // longer than any margin that as_of is made with
      await tx
        .updateTable('mailboxes')
        .set((eb) => ({ quota_bytes: 99, updated_at: eb.fn('now') }))
        .where('name', '=', 'dan' as never)
        .execute()
      written()
      await held
    })
    await write
    // others' later writes are seen by a poll in the meantime, the one that is not committed is not
    await admin.patch('/v1/mailboxes/fay@c.jp', { quota_bytes: 5 })
    const { rows } = await service.admin.query('select clock_timestamp() as now')
    const poll = await admin.get(`/v1/mailboxes?updated_since=2020-01-01T00:00:00Z`)
    assert.equal(poll.body.items.find((item: Mailbox) => item.name === 'dan').quota_bytes, null)
    commit()
    await late
    const next = await admin.get(`/v1/mailboxes?updated_since=${encodeURIComponent(poll.body.as_of)}`)
    const dan = next.body.items.find((item: Mailbox) => item.name === 'dan')
    assert.equal(dan.quota_bytes, 99)
    assert.ok(dan.updated_at < rows[0].now.toISOString())
    assert.ok(poll.body.as_of <= dan.updated_at)
  })
})
