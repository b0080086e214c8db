import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { buildApp } from '../src/app.ts'
import { createIssuer } from '../src/issuer.ts'
import { scopes } from '../src/scopes.ts'
import { type Client, createClient } from './support/client.ts'
import { startIdentityProvider } from './support/identity-provider.ts'
import { startService } from './support/service.ts'

// Lists and counts against a model, in worlds that nobody thought out.

const service = await startService()

const domainNames = ['a.jp', 'b.jp', 'b.jp.example.com', 'ba.jp', 'c.jp', 'deleted.jp']
const accountNames = ['a', 'a-b', 'a.b', 'a_b', 'a0', 'ab', 'abc', 'b', 'ba', 'c', 'z9']

interface Account {
  name: string
  /** Where its mailbox is; undefined = it has none. */
  domain: string | undefined
  mailboxDeleted: boolean
  /** Went with its mailbox. */
  deleted: boolean
  locked: boolean
  externalId: string | null
}

interface World {
  domains: string[]
  accounts: Account[]
}

const account = fc.record({
  name: fc.constantFrom(...accountNames),
  domain: fc.option(fc.constantFrom(...domainNames), { nil: undefined, freq: 5 }),
  mailboxDeleted: fc.boolean(),
  deleted: fc.boolean(),
  locked: fc.boolean(),
  externalId: fc.constantFrom(null, '1001', '1002'),
})

const world: fc.Arbitrary<World> = fc.record({
  domains: fc.constant(domainNames),
  accounts: fc.uniqueArray(account, { selector: ({ name }) => name, maxLength: accountNames.length }),
})

const isDeleted = (domain: string) => domain.startsWith('deleted')

/** Its mailbox, in the state that it really has: in a deleted domain there are only deleted ones. */
const mailboxState = ({ domain, mailboxDeleted }: Account) =>
  domain === undefined ? undefined : mailboxDeleted || isDeleted(domain) ? 'deleted' : 'active'
const accountState = (one: Account) => (one.deleted && mailboxState(one) === 'deleted' ? 'deleted' : 'active')

async function build({ domains, accounts }: World): Promise<void> {
  const { admin } = service
  await admin.query(
    'truncate app.domains, app.accounts, app.addresses, app.mailboxes, app.aliases, app.verifiers',
  )
  for (const name of domains) {
    const state = isDeleted(name) ? 'deleted' : 'active'
    await admin.query(
      `insert into app.domains (name, state, purge_at)
       values ($1, $2, case when $2 = 'deleted' then now() end)`,
      [name, state],
    )
  }
  for (const one of accounts) {
    await admin.query(
      `insert into app.accounts (name, state, authentication, external_id) values ($1, $2, 'local', $3)`,
      [one.name, accountState(one), one.externalId],
    )
    if (one.domain === undefined) continue
    const key = [one.name, one.domain]
    await admin.query(
      `insert into app.addresses (name, domain, kind, holds_name) values ($1, $2, 'mailbox', true)`,
      key,
    )
    await admin.query(
      `insert into app.mailboxes (name, domain, state, locked, purge_at)
       values ($1, $2, $3::text, $4, case when $3::text = 'deleted' then now() end)`,
      [...key, mailboxState(one), one.locked],
    )
  }
}

/** All pages of a list, each checked to be no longer than asked for. */
async function readAll(client: Client, path: string, limit: number): Promise<string[]> {
  const found: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const separator = path.includes('?') ? '&' : '?'
    const { body, headers } = await client.get(
      `${path}${separator}limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`,
    )
    assert.ok(body.items.length <= limit)
    assert.equal(headers.has('link'), body.next !== null)
    found.push(...body.items.map((item: { name: string }) => item.name))
    cursor = body.next
  }
  return found
}

/** In the order of the octets. */
const sorted = (names: string[]) => names.sort((a, b) => (a < b ? -1 : 1))

const callers = fc.oneof(fc.constant('*' as const), fc.subarray(domainNames))

test('a caller sees what lies in its domains, whole, in order, and nothing else', async () => {
  const worlds = fc.asyncProperty(
    world,
    callers,
    fc.integer({ min: 1, max: 4 }),
    fc.constantFrom('', 'a', 'b', 'b.jp'),
    async (theWorld, domains, limit, prefix) => {
      await build(theWorld)
      const client = await service.as({ domains })
      const sees = (domain: string | undefined) =>
        domains === '*' || (domain !== undefined && domains.includes(domain))
      const mailboxes = (state: string, matches: (one: Account) => boolean = () => true) =>
        sorted(
          theWorld.accounts
            .filter((one) => mailboxState(one) === state && sees(one.domain) && matches(one))
            .map(({ name }) => name),
        )
      const read = (path: string) => readAll(client, path, limit)

      assert.deepEqual(await read('/v1/mailboxes'), mailboxes('active'))
      assert.deepEqual(await read('/v1/mailboxes?state=deleted'), mailboxes('deleted'))
      assert.deepEqual(
        await read(`/v1/mailboxes?domain=b.jp&prefix=${prefix}`),
        mailboxes('active', ({ name, domain }) => domain === 'b.jp' && name.startsWith(prefix)),
      )
      assert.deepEqual(
        await read('/v1/mailboxes?external_id=1001&locked=true'),
        mailboxes('active', ({ externalId, locked }) => externalId === '1001' && locked),
      )
      assert.deepEqual(
        await read(`/v1/accounts?prefix=${prefix}`),
        sorted(
          theWorld.accounts
            .filter((one) => accountState(one) === 'active' && one.name.startsWith(prefix))
            .filter((one) => sees(mailboxState(one) === 'active' ? one.domain : undefined))
            .map(({ name }) => name),
        ),
      )
      assert.deepEqual(
        await read(`/v1/domains?prefix=${prefix}`),
        sorted(domainNames.filter((name) => sees(name) && !isDeleted(name) && name.startsWith(prefix))),
      )
      const { items } = (await client.get('/v1/domains')).body
      for (const { name, mailbox_count } of items) {
        const expected = theWorld.accounts.filter(
          (one) => one.domain === name && mailboxState(one) === 'active',
        )
        assert.equal(mailbox_count, expected.length, name)
        assert.equal((await client.get(`/v1/domains/${name}`)).body.mailbox_count, expected.length)
      }
    },
  )
  await fc.assert(worlds, { numRuns: 40 })
})

test('a token that says nothing of domains sees nothing', async () => {
  const provider = await startIdentityProvider()
  const issuer = createIssuer({ issuer: provider.issuer, audience: 'mailwright' })
  const app = await buildApp({
    db: service.db,
    derivations: service.derivations,
    auth: { keys: service.keys, issuer, domainsClaim: 'mailwright_domains' },
  })
  after(async () => {
    await app.close()
    await provider.stop()
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await build({
    domains: domainNames,
    accounts: [
      { name: 'a', domain: 'a.jp', mailboxDeleted: false, deleted: false, locked: false, externalId: null },
    ],
  })
  const scope = scopes.join(' ')
  const silent = createClient(url, await provider.sign({ scope }))
  for (const path of ['/v1/domains', '/v1/mailboxes', '/v1/accounts']) {
    assert.deepEqual((await silent.get(path)).body.items, [], path)
  }
  for (const path of ['/v1/domains/a.jp', '/v1/mailboxes/a@a.jp', '/v1/accounts/a']) {
    assert.equal((await silent.get(path)).status, 404, path)
  }
  assert.equal((await silent.get('/v1/server')).status, 403)
  const all = createClient(url, await provider.sign({ scope, mailwright_domains: ['*'] }))
  assert.equal((await all.get('/v1/mailboxes')).body.items.length, 1)
})
