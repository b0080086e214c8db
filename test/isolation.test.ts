import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { Scope } from '../src/scopes.ts'
import { outcome, type Reply } from './support/client.ts'
import { aliasIn, type Target } from './support/operations.ts'
import { startService } from './support/service.ts'

// What a caller learns of names, and what its lists show; that whatever it asks is answered as if what lies outside its
// domains did not exist is in test/isolation/worlds.test.ts.

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['own.jp', 'own-and-missing.jp'] })
const powerless = await service.as({ domains: [] })

/** Who has a name that the caller may not know more of than that it is taken. */
const foreigners = {
  'an active mailbox': 'there',
  'a locked mailbox': 'shut',
  'a mailbox with its account elsewhere': 'filed',
  'a deleted mailbox with its account': 'gone',
  'a deleted mailbox': 'kept',
  'a mailbox of a deleted domain': 'along',
  'an account without a mailbox': 'alone',
  'a name that a rename left': 'held',
}

before(async () => {
  for (const name of ['own.jp', 'foreign.jp', 'deleted.jp']) await admin.post('/v1/domains', { name })
  await create('mine@own.jp')
  await create('there@foreign.jp')
  await admin.post('/v1/aliases', { address: aliasIn('foreign.jp'), targets: ['there@foreign.jp'] })
  await create('gone@foreign.jp')
  await admin.delete('/v1/mailboxes/gone@foreign.jp?account=delete')
  await create('kept@foreign.jp') // the account outlives the mailbox
  await admin.delete('/v1/mailboxes/kept@foreign.jp')
  await create('along@deleted.jp')
  await admin.delete('/v1/domains/deleted.jp?mailboxes=delete&expect=1')
  await admin.post('/v1/accounts', { name: 'alone', generate_password: true, external_id: '1001' })
  await create('held@foreign.jp')
  await admin.post('/v1/mailboxes/held@foreign.jp/rename', { address: 'from-held@foreign.jp' })
  await create('shut@foreign.jp')
  await admin.patch('/v1/mailboxes/shut@foreign.jp', { locked: true })
  await create('filed@foreign.jp', { authentication: 'password_file' })
  for (const domains of [['foreign.jp'], ['foreign.jp', 'own.jp'], ['*']])
    await admin.post('/v1/tokens', { label: 'x', scopes: ['mailboxes:read'], domains })
})

function create(address: string, values = {}): Promise<Reply> {
  const account = { display_name: 'Hanako Yamada', external_id: '1001' }
  return admin.post('/v1/mailboxes', { address, generate_password: true, account, ...values })
}

/** Everything that the service's tables hold. */
async function readTables(): Promise<string> {
  const tables = [
    'settings',
    'domains',
    'accounts',
    'addresses',
    'mailboxes',
    'aliases',
    'verifiers',
    'tokens',
  ]
  const queries = tables.map((table) =>
    service.admin.query(`select to_jsonb(t) as row from app.${table} as t order by to_jsonb(t)::text`),
  )
  return JSON.stringify((await Promise.all(queries)).map(({ rows }) => rows))
}

async function assertNothingChanged(work: () => Promise<void>): Promise<void> {
  const before = await readTables()
  await work()
  assert.equal(await readTables(), before)
}

const perRequest = ['x-request-id', 'date', 'content-length']

/** The answer without what differs by itself, and without the words of the request. */
function comparable({ status, body, headers }: Reply, target: Target): unknown {
  const { instance: _, ...rest } = body ?? {}
  const others = [...headers].filter(([name]) => !perRequest.includes(name))
  const words = [target.mailbox, target.domain, target.account, target.token ?? target.account]
  const text = JSON.stringify({ status, body: rest, headers: others })
  return JSON.parse(words.reduce((masked, word) => masked.replaceAll(word, '…'), text))
}

/** Bodies of a create; those that no request without a look-up can be refused for. */
const creations: object[] = [
  {},
  { generate_password: true },
  { password: 'a long enough password' },
  { password: 'x' },
  { create_account: false },
  { create_account: true, generate_password: true, authentication: 'password_file' },
  { generate_password: true, authentication: 'active_directory' },
]

test('of a name it learns only that it is taken, not by what', () =>
  assertNothingChanged(async () => {
    for (const body of creations) {
      const answers = new Map<string, string>()
      for (const [what, account] of Object.entries(foreigners)) {
        const own = { domain: 'own.jp', mailbox: `${account}@own.jp`, account }
        const post = await limited.post('/v1/mailboxes', { ...body, address: own.mailbox })
        const put = await limited.put(`/v1/mailboxes/${own.mailbox}`, body)
        const choice = { ...body, domain: 'own.jp', name_candidates: [account] }
        const first = await limited.post('/v1/mailboxes', choice)
        const rename = await limited.post('/v1/mailboxes/mine@own.jp/rename', { address: own.mailbox })
        const replies = [post, put, first, rename]
        for (const reply of replies) assert.ok(reply.status >= 400 && !('conflict' in reply.body), what)
        answers.set(what, JSON.stringify(replies.map((reply) => comparable(reply, own))))
      }
      assert.equal(new Set(answers.values()).size, 1, JSON.stringify([body, ...answers]))
    }
    const taken = { address: 'there@own.jp', generate_password: true }
    assert.equal(outcome(await limited.post('/v1/mailboxes', taken)), '409 name-taken')
  }))

describe('lists', () => {
  const filters = [
    '',
    '?limit=1',
    '?state=deleted',
    '?state=revoked',
    '?prefix=a',
    '?prefix=f',
    '?prefix=there',
    '?external_id=1001',
    '?name=there',
    '?name=gone&state=deleted',
    '?domain=foreign.jp',
    '?domain=deleted.jp&state=deleted',
    '?domain=nothing.jp',
    '?locked=false',
    '?updated_since=2020-01-01T00:00:00Z',
    `?cursor=${Buffer.from(JSON.stringify({ after: '' })).toString('base64url')}`,
  ]

  for (const path of ['/v1/domains', '/v1/mailboxes', '/v1/accounts', '/v1/tokens']) {
    test(`${path} shows nothing foreign, whatever the filter`, async () => {
      for (const filter of filters) {
        const { status, body, headers } = await limited.get(`${path}${filter}`)
        if (status === 400) continue // a filter of another list
        const text = JSON.stringify(body.items)
        assert.doesNotMatch(
          text,
          /foreign|deleted\.jp|"(there|gone|kept|along|alone|held|shut|filed|from-held)/,
          filter,
        )
        assert.ok(body.items.length <= 1, filter)
        assert.deepEqual([body.next, headers.get('link')], [null, null], filter)
      }
    })

    test(`${path} is empty for a token without domains`, async () => {
      for (const filter of filters) {
        const { status, body, headers } = await powerless.get(`${path}${filter}`)
        if (status !== 400) assert.deepEqual([body.items, body.next, headers.get('link')], [[], null, null])
      }
    })
  }

  test('the caller does see its own', async () => {
    const { items: domains } = (await limited.get('/v1/domains')).body
    const { items: mailboxes } = (await limited.get('/v1/mailboxes?domain=own.jp&external_id=1001')).body
    const { items: accounts } = (await limited.get('/v1/accounts?external_id=1001')).body
    assert.deepEqual([domains[0].name, domains[0].mailbox_count], ['own.jp', 1])
    assert.equal(mailboxes[0].address, 'mine@own.jp')
    assert.equal(accounts[0].mailbox, 'mine@own.jp')
  })
})

test('a domain in the token that does not exist is like any other that does not', async () => {
  for (const domain of ['own-and-missing.jp', 'nothing.jp']) {
    assert.equal(outcome(await limited.get(`/v1/domains/${domain}`)), '404 domain-not-found')
    const create = { address: `fresh@${domain}`, generate_password: true }
    assert.equal(outcome(await limited.post('/v1/mailboxes', create)), '422 unknown-domain')
  }
})

test('scopes say what may be done, not where', async () => {
  const scopes: Scope[] = ['mailboxes:purge', 'mailboxes:write', 'accounts:write', 'names:reserved']
  const caller = await service.as({ scopes, domains: ['own.jp'] })
  assert.equal(
    outcome(await caller.delete('/v1/mailboxes/there@foreign.jp?purge=true')),
    '404 mailbox-not-found',
  )
  assert.equal(outcome(await caller.delete('/v1/accounts/alone')), '404 account-not-found')
})
