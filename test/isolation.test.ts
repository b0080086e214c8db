import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import type { Scope } from '../src/scopes.ts'
import { type Client, outcome, type Reply, type RequestOptions } from './support/client.ts'
import {
  aliasIn,
  bodyFor,
  type DeclaredOperation,
  guardedOperations,
  pathFor,
  type Target,
} from './support/operations.ts'
import { startService } from './support/service.ts'

// What lies outside a caller's domains answers exactly like what does not exist.

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['own.jp', 'own-and-missing.jp'] })
const powerless = await service.as({ domains: [] })

/** Of a mailbox or an account in foreign.jp: what a request can name it by, and the version that it has. */
interface Foreign extends Target {
  etag: string
  token: string
}

const foreigners: Record<string, Foreign> = {}

/** As long as the real ones, and nowhere to be found. */
const missing: Foreign = {
  domain: 'nothing.jp',
  mailbox: 'nobody@nothing.jp',
  account: 'nobody',
  etag: '"00000000-0000-4000-8000-000000000000"',
  token: '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d40',
}
const missingId = '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e'

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
  await service.admin.query(
    `insert into app.accounts (name, state, authentication) values ('held', 'held', 'local')`,
  )
  foreigners['an active mailbox'] = await describeForeign('there', 'foreign.jp')
  foreigners['a deleted mailbox'] = await describeForeign('gone', 'foreign.jp')
  foreigners['a deleted mailbox with its account'] = await describeForeign('kept', 'foreign.jp')
  foreigners['a mailbox of a deleted domain'] = await describeForeign('along', 'deleted.jp')
  foreigners['an account without a mailbox'] = await describeForeign('alone', 'foreign.jp')
  foreigners['a held name'] = await describeForeign('held', 'foreign.jp')
})

function create(address: string): Promise<Reply> {
  const account = { display_name: 'Hanako Yamada', external_id: '1001' }
  return admin.post('/v1/mailboxes', { address, generate_password: true, account })
}

async function describeForeign(name: string, domain: string): Promise<Foreign> {
  const scopes = ['mailboxes:read']
  const made =
    domain === 'deleted.jp'
      ? { body: {} }
      : await admin.post('/v1/tokens', { label: 'x', scopes, domains: [domain, 'own.jp'] })
  const { rows } = await service.admin.query(
    `select coalesce(m.version, a.version) as version
     from app.accounts as a left join app.mailboxes as m on m.name = a.name where a.name = $1`,
    [name],
  )
  const token = made.body.id ?? missing.token
  return { domain, mailbox: `${name}@${domain}`, account: name, etag: `"${rows[0].version}"`, token }
}

async function idOf({ account }: Foreign): Promise<string | undefined> {
  const { rows } = await service.admin.query('select id from app.mailboxes where name = $1', [account])
  return rows[0]?.id
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

interface Variant {
  query?: string
  headers?: (target: Foreign) => Record<string, string>
  body?: object
}

const variants: Variant[] = [
  {},
  { headers: ({ etag }) => ({ 'if-match': etag }) },
  { headers: () => ({ 'if-match': '*' }) },
  { headers: () => ({ 'if-match': '"another"' }) },
  { headers: () => ({ 'if-none-match': '*' }) },
  { body: {} },
  { body: { no_such_member: true } },
]

const variantsOf: Record<string, Variant[]> = {
  deleteMailbox: ['?account=delete', '?purge=true', '?account=delete&purge=true'].map((query) => ({ query })),
  deleteDomain: ['?mailboxes=delete&expect=1', '?purge=true'].map((query) => ({ query })),
  updateDomain: [{ postmaster_address: 'mine@own.jp' }, { mailbox_limit: 5 }].map((body) => ({ body })),
  updateAlias: [{ targets: ['mine@own.jp'] }, { targets: ['there@foreign.jp'] }, { send_as: false }].map(
    (body) => ({ body }),
  ),
  updateMailbox: [{ locked: false }, { quota_bytes: 5 }].map((body) => ({ body })),
  updateAccount: [{ disabled: false }, { display_name: 'X' }].map((body) => ({ body })),
  setPassword: [{ password: 'a long enough password' }, { password: 'x' }].map((body) => ({ body })),
  ensureMailbox: [
    { create_account: false },
    { password: 'a long enough password' },
    { generate_password: true, authentication: 'password_file' },
    { authentication: 'active_directory' },
    { quota_bytes: 5, account: { display_name: 'X' } },
    { allow_role_name: true },
  ].map((body) => ({ body })),
}

function send(client: Client, operation: DeclaredOperation, target: Foreign, variant: Variant) {
  const path = `${pathFor(operation, target)}${variant.query ?? ''}`
  const options: RequestOptions = { headers: variant.headers?.(target) ?? {} }
  const { method } = operation
  if (method === 'get' || method === 'delete') return client[method](path, options)
  return client[method](path, variant.body ?? bodyFor(operation, target), options)
}

const named = guardedOperations.filter(({ path }) => path.includes('{'))

describe('what a path names', () => {
  for (const operation of named) {
    test(`${operation.operationId} tells nothing of foreign objects`, () =>
      assertNothingChanged(async () => {
        for (const [what, foreign] of Object.entries(foreigners)) {
          for (const variant of [...variants, ...(variantsOf[operation.operationId] ?? [])]) {
            await assertAlike(operation, variant, [what, foreign])
          }
        }
      }))
  }

  for (const operation of named.filter(({ path }) => path.includes('{mailbox}'))) {
    test(`${operation.operationId} tells nothing of foreign ids`, () =>
      assertNothingChanged(async () => {
        for (const [what, foreign] of Object.entries(foreigners)) {
          const id = await idOf(foreign)
          if (id === undefined) continue
          for (const variant of [...variants, ...(variantsOf[operation.operationId] ?? [])]) {
            const byId = { ...foreign, mailbox: id }
            await assertAlike(operation, variant, [what, byId], { ...missing, mailbox: missingId })
          }
        }
      }))
  }
})

async function assertAlike(
  operation: DeclaredOperation,
  variant: Variant,
  [what, foreign]: [string, Foreign],
  absent: Foreign = missing,
): Promise<void> {
  for (const client of [limited, powerless]) {
    await service.admin.query('delete from app.password_checks')
    const seen = await send(client, operation, foreign, variant)
    const expected = await send(client, operation, absent, variant)
    const where = `${operation.operationId} ${JSON.stringify(variant)} ${what}`
    assert.ok(seen.status >= 400 || seen.body.valid === false, where)
    assert.deepEqual(comparable(seen, foreign), comparable(expected, absent), where)
  }
}

test('waits for nothing that others hold outside its domains', async () => {
  const holder = await service.admin.connect()
  await holder.query('begin')
  await holder.query(`select from app.accounts where name <> 'mine' for update`)
  await holder.query(`select from app.mailboxes where name <> 'mine' for update`)
  await holder.query(`select from app.aliases for update`)
  await holder.query(`select from app.domains where name <> 'own.jp' for update`)
  await holder.query('select from app.tokens for update')
  try {
    for (const operation of named) {
      for (const [what, foreign] of Object.entries(foreigners)) {
        await assertAlike(operation, {}, [what, foreign])
      }
    }
  } finally {
    await holder.query('rollback')
    holder.release()
  }
})

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

test('a create in a foreign domain answers as in one that does not exist', () =>
  assertNothingChanged(async () => {
    for (const [what, foreign] of Object.entries(foreigners)) {
      for (const body of creations) {
        for (const name of [foreign.account, 'fresh', 'postmaster']) {
          const at = { ...foreign, account: name, mailbox: `${name}@${foreign.domain}` }
          const nowhere = { ...missing, account: name, mailbox: `${name}@${missing.domain}` }
          for (const client of [limited, powerless]) {
            const seen = await client.post('/v1/mailboxes', { ...body, address: at.mailbox })
            const expected = await client.post('/v1/mailboxes', { ...body, address: nowhere.mailbox })
            assert.deepEqual(comparable(seen, at), comparable(expected, nowhere), `${what} ${name}`)
          }
        }
      }
    }
  }))

test('of a name it learns only that it is taken, not by what', () =>
  assertNothingChanged(async () => {
    for (const body of creations) {
      const answers = new Map<string, string>()
      for (const [what, { account }] of Object.entries(foreigners)) {
        const own = { domain: 'own.jp', mailbox: `${account}@own.jp`, account }
        const post = await limited.post('/v1/mailboxes', { ...body, address: own.mailbox })
        const put = await limited.put(`/v1/mailboxes/${own.mailbox}`, body)
        for (const reply of [post, put]) assert.ok(!('conflict' in reply.body), what)
        answers.set(what, JSON.stringify([comparable(post, own), comparable(put, own)]))
      }
      assert.equal(new Set(answers.values()).size, 1, JSON.stringify([body, ...answers]))
    }
    const taken = { address: 'there@own.jp', generate_password: true }
    assert.equal(outcome(await limited.post('/v1/mailboxes', taken)), '409 name-taken')
  }))

test('a token for a foreign domain is refused as for one that does not exist', () =>
  assertNothingChanged(async () => {
    for (const foreign of Object.values(foreigners)) {
      for (const other of [[], ['own.jp']]) {
        for (const client of [limited, powerless]) {
          const wish = { label: 'x', scopes: ['mailboxes:read'] }
          const seen = await client.post('/v1/tokens', { ...wish, domains: [...other, foreign.domain] })
          const expected = await client.post('/v1/tokens', { ...wish, domains: [...other, missing.domain] })
          assert.equal(outcome(seen), '422 unknown-domain')
          assert.deepEqual(comparable(seen, foreign), comparable(expected, missing))
        }
      }
    }
  }))

test('what is only for callers with all domains is refused before anything is looked up', () =>
  assertNothingChanged(async () => {
    const forbidden = [
      ...['createDomain', 'deleteDomain', 'restoreDomain', 'createAccount', 'getServer', 'updateServer'],
    ]
    for (const operation of guardedOperations.filter((one) => forbidden.includes(one.operationId))) {
      for (const target of [...Object.values(foreigners), missing, { ...missing, domain: 'own.jp' }]) {
        const reply = await send(limited, operation, target, {})
        assert.equal(outcome(reply), '403 insufficient-scope', operation.operationId)
      }
    }
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
        assert.doesNotMatch(text, /foreign|deleted\.jp|"(there|gone|kept|along|alone|held)/, filter)
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
