import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { type Client, outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['b.jp', 'a.jp', 'none.jp'] })

const addresses = [
  ...[
    '@a.jp',
    '@c.jp',
    'all@a.jp',
    'all@b.jp',
    'all@c.jp',
    'al.l@b.jp',
    'b@a.jp',
    'team@b.jp',
    'team-2@c.jp',
  ],
]
/** By local part, then by domain, in the order of bytes. */
const order = (a: string, b: string) => {
  const key = (address: string) => address.split('@').join('\u0000')
  return key(a) < key(b) ? -1 : 1
}

before(async () => {
  for (const name of ['a.jp', 'b.jp', 'c.jp', 'gone.jp']) await admin.post('/v1/domains', { name })
  await admin.post('/v1/mailboxes', { address: 'user1@a.jp', generate_password: true })
  await admin.post('/v1/mailboxes', { address: 'user2@gone.jp', generate_password: true })
  for (const address of [...addresses, 'all@gone.jp']) {
    const targets = address.startsWith('team') ? ['desk@partner.example', 'user1@a.jp'] : ['user1@a.jp']
    const made = await admin.post('/v1/aliases', { address, targets, allow_role_name: true })
    assert.equal(outcome(made), '201', address)
  }
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
})

async function list(query = '', client: Client = admin): Promise<string[]> {
  const { body } = await client.get(`/v1/aliases${query}`)
  return body.items.map((one: { address: string }) => one.address)
}
const within = (...domains: string[]) =>
  addresses.filter((one) => domains.includes(one.split('@')[1]!)).sort(order)

test('lists in the order of local parts, without the aliases of deleted domains', async () => {
  assert.deepEqual(await list(), addresses.toSorted(order))
  const { body } = await admin.get('/v1/aliases?limit=1')
  assert.deepEqual(body.items[0], (await admin.get('/v1/aliases/@a.jp')).body)
})

test('shows a limited caller those of its domains', async () => {
  assert.deepEqual(await list('', limited), within('a.jp', 'b.jp'))
  assert.deepEqual(await list('?domain=c.jp', limited), [])
  assert.deepEqual(await list('', await service.as({ domains: [] })), [])
})

test('pages to the end, and the Link says the same', async () => {
  for (const client of [admin, limited]) {
    for (const limit of [1, 2, 3]) {
      const seen: string[] = []
      for (let path: string | undefined = `/v1/aliases?limit=${limit}`; path; ) {
        const { body, headers } = await client.get(path)
        seen.push(...body.items.map((one: { address: string }) => one.address))
        path = /^<(.*)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
        assert.equal(path === undefined, body.next === null)
      }
      assert.deepEqual(seen, await list('', client))
    }
  }
  const foreign = Buffer.from(JSON.stringify({ after: 'nonsense' })).toString('base64url')
  assert.deepEqual(await list(`?cursor=${foreign}`), await list())
})

const filters: [query: string, expected: string[]][] = [
  ['?domain=A.jp', within('a.jp')],
  ['?domain=a_b', []],
  ['?domain=gone.jp', []],
  ['?prefix=AL', ['al.l@b.jp', 'all@a.jp', 'all@b.jp', 'all@c.jp']],
  ['?prefix=al&domain=b.jp', ['al.l@b.jp', 'all@b.jp']],
  ['?prefix=%25', []],
  ['?target=Desk@Partner.example', ['team@b.jp', 'team-2@c.jp']],
  ['?target=desk@partner.example&domain=b.jp', ['team@b.jp']],
  ['?target=desk', []],
]
for (const [query, expected] of filters) {
  test(`filters by ${query}`, async () => {
    assert.deepEqual(await list(query), expected.toSorted(order))
  })
}
