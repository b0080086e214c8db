import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import pg from 'pg'
import { poolOf } from '../src/database.ts'
import { type Body, type Client, outcome } from './support/client.ts'
import { domainOf, fillBeside, fillMailboxes, nameOf } from './support/many.ts'
import { mailLogins } from './support/names.ts'
import { collectPlans, explainAll, type RunPlan } from './support/plans.ts'
import { startService } from './support/service.ts'

// What a request costs must not grow with the installation: every hot statement of the API and of the mail servers
// looks at a bounded number of pages, and reads no large table from end to end. The plans are those of the statements
// as they really run. SCALE=1000000 does it at the size of a large installation.

const service = await startService()
const many = { mailboxes: Number(process.env.SCALE ?? 100_000), big: 'big.example' }
const plans: RunPlan[] = []
const addressOf = (i: number) => `${nameOf(i)}@${domainOf(many, i)}`
const cursorAfter = (after: string) => Buffer.from(JSON.stringify({ after })).toString('base64url')

const { rows: privileged } = await service.admin.query(
  'select from pg_roles where rolname = current_user and rolsuper',
)
const skip = privileged.length === 0 && 'only a superuser may load auto_explain'

let admin: Client
let several: Client
let mailServer: pg.Client
let names: string[] = []

before(async () => {
  if (skip) return
  await explainAll(service.admin)
  poolOf(service.db).on('connect', (client) => collectPlans(client, plans))
  await fillMailboxes(service.admin, many)
  await fillBeside(service.admin, many)
  await service.admin.query('update app.settings set scram_iterations = 4096')
  await service.admin.query('vacuum app.mailboxes, app.accounts, app.addresses, app.aliases, mail.usage')
  const { rows } = await service.admin.query('select name from app.mailboxes order by name desc limit 50')
  names = rows.map(({ name }) => name)
  admin = await service.as()
  several = await service.as({
    domains: [many.big, 'd1.example', 'd2.example', 'd3.example', 'absent.example'],
  })
  // what a connection learns of tables and functions themselves, and the counts that are remembered for a minute
  for (const locked of [true, false]) await admin.patch(`/v1/mailboxes/${addressOf(2)}`, { locked })
  await admin.get('/v1/domains')
  const url = new URL(String(service.admin.options.connectionString))
  url.username = mailLogins.read.name
  url.password = mailLogins.read.password
  mailServer = new pg.Client(String(url))
  collectPlans(mailServer, plans)
  mailServer.on('error', () => {}) // its database is dropped before it has ended
  await mailServer.connect()
})
after(() => mailServer?.end())

/** What grows with the installation. The queue of jobs does not: what is done is deleted. */
const large = new Set([
  ...['domains', 'accounts', 'addresses', 'mailboxes', 'verifiers', 'aliases', 'audit_events'],
  ...['usage', 'last_login'],
])

/** The plans of what `work` does. */
async function plansOf(work: () => Promise<unknown>): Promise<RunPlan[]> {
  plans.length = 0
  await work()
  return plans.splice(0)
}

function assertBounded(run: RunPlan[], buffers: number): void {
  assert.ok(run.length > 0, 'no statement was seen')
  for (const { text, buffers: used, scanned, outline } of run) {
    assert.deepEqual(
      scanned.filter((table) => large.has(table)),
      [],
      `reads all of it: ${text}\n${outline}`,
    )
    assert.ok(used <= buffers, `looks at ${used} pages, not at most ${buffers}: ${text}\n${outline}`)
  }
}

const most = (run: RunPlan[]) => Math.max(...run.map(({ buffers }) => buffers))

const page = 4000
type Ask = [what: string, path: () => string, buffers: number]
const asks: Ask[] = [
  ['a mailbox by its address', () => `/v1/mailboxes/${addressOf(5)}`, 60],
  ['mailboxes, first page', () => '/v1/mailboxes', page],
  ['mailboxes, last page', () => `/v1/mailboxes?cursor=${cursorAfter(names.at(-1) ?? '')}`, page],
  ['mailboxes of a large domain', () => `/v1/mailboxes?domain=${many.big}`, page],
  [
    'mailboxes of a large domain, last page',
    () => `/v1/mailboxes?domain=${many.big}&cursor=${cursorAfter('uffff')}`,
    page,
  ],
  ['mailboxes of a small domain', () => '/v1/mailboxes?domain=d7.example', page],
  ['mailboxes by prefix', () => '/v1/mailboxes?prefix=u8', page],
  ['mailboxes by a prefix that none has', () => '/v1/mailboxes?prefix=zz', page],
  ['mailboxes of a domain by prefix', () => `/v1/mailboxes?domain=${many.big}&prefix=uff`, page],
  ['mailboxes by name', () => `/v1/mailboxes?name=${nameOf(9)}`, 60],
  ['mailboxes by external id', () => '/v1/mailboxes?external_id=77', 60],
  ['locked mailboxes', () => '/v1/mailboxes?locked=true', page],
  ['mailboxes on hold', () => '/v1/mailboxes?hold=true', page],
  ['deleted mailboxes', () => '/v1/mailboxes?state=deleted', page],
  ['mailboxes that changed', () => '/v1/mailboxes?updated_since=2030-01-01T00:00:00Z', page],
  ['accounts, first page', () => '/v1/accounts', page],
  ['accounts, last page', () => `/v1/accounts?cursor=${cursorAfter(names.at(-1) ?? '')}`, page],
  ['accounts by prefix', () => '/v1/accounts?prefix=u8', page],
  ['accounts by external id', () => '/v1/accounts?external_id=77', 60],
  ['an account', () => `/v1/accounts/${nameOf(5)}`, 60],
  ['aliases, first page', () => '/v1/aliases', page * 2],
  ['aliases, last page', () => `/v1/aliases?cursor=${cursorAfter('a9999@d0.example')}`, page * 2],
  ['aliases of a large domain', () => `/v1/aliases?domain=${many.big}`, page * 2],
  ['aliases by prefix', () => '/v1/aliases?prefix=a77', page * 2],
  ['aliases by target', () => `/v1/aliases?target=${addressOf(10)}`, 200],
  ['events, first page', () => '/v1/audit-events', page],
  ['events of a mailbox', () => `/v1/audit-events?object=${addressOf(5)}`, 100],
  ['events of a domain', () => `/v1/audit-events?domain=${many.big}`, page],
  ['events of a caller', () => '/v1/audit-events?subject=hr', page],
  ['events of a caller that did nothing', () => '/v1/audit-events?subject=nobody', page],
  ['events of an action', () => '/v1/audit-events?action=mailbox.create', page],
  ['events of an action that nobody did', () => '/v1/audit-events?action=mailbox.rename', page],
  [
    'events of some time',
    () => '/v1/audit-events?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z',
    page,
  ],
  ['domains', () => '/v1/domains', page * 3], // counts the mailboxes of each
  ['a domain by prefix', () => '/v1/domains?prefix=d77', page],
  ['a small domain', () => '/v1/domains/d7.example', 200],
]

describe('the API answers with a bounded number of pages', { skip }, () => {
  for (const [what, path, buffers] of asks) {
    test(what, async (t) => {
      const run = await plansOf(async () => assert.equal(outcome(await admin.get(path())), '200'))
      t.diagnostic(`${most(run)} pages`)
      assertBounded(run, buffers)
    })
  }

  const own = ['/v1/mailboxes', '/v1/mailboxes?prefix=uff', '/v1/mailboxes?state=deleted', '/v1/accounts']
  const others = ['/v1/accounts?prefix=uff', '/v1/aliases', '/v1/audit-events', '/v1/mailboxes?locked=true']
  const ends = [`/v1/accounts?cursor=${cursorAfter('uffff')}`, `/v1/mailboxes?cursor=${cursorAfter('uffff')}`]
  const found = ['/v1/accounts?external_id=70', `/v1/aliases?target=${addressOf(10)}`]
  for (const path of [...own, ...others, ...ends, ...found]) {
    test(`${path} of a token with several domains`, async (t) => {
      const run = await plansOf(async () => assert.equal(outcome(await several.get(path)), '200'))
      t.diagnostic(`${most(run)} pages`)
      assertBounded(run, page * 3)
    })
  }

  test('a mailbox by its id', async () => {
    const { body } = await admin.get(`/v1/mailboxes/${addressOf(5)}`)
    assertBounded(await plansOf(() => admin.get(`/v1/mailboxes/${body.id}`)), 60)
  })
})

describe('the API writes with a bounded number of pages', { skip }, () => {
  const create = (address: string) => admin.post('/v1/mailboxes', { address, no_password: true })
  const writes: [string, string, () => Promise<Parameters<typeof outcome>[0]>][] = [
    ['create', '201', () => create(`new1@${many.big}`)],
    ['collide with the same address', '409 mailbox-exists', () => create(addressOf(5))],
    ['collide with a name', '409 name-taken', () => create(`${nameOf(5)}@d999.example`)],
    ['ensure what is there', '200', () => admin.put(`/v1/mailboxes/${addressOf(6)}`, {})],
    ['change', '200', () => admin.patch(`/v1/mailboxes/${addressOf(6)}`, { locked: true })],
    [
      'rename',
      '200',
      () => admin.post(`/v1/mailboxes/${addressOf(7)}/rename`, { address: `new2@${many.big}` }),
    ],
    [
      'set a password',
      '200',
      () => admin.put(`/v1/accounts/${nameOf(8)}/password`, { generate_password: true }),
    ],
    ['change an account', '200', () => admin.patch(`/v1/accounts/${nameOf(8)}`, { display_name: 'A' })],
    [
      'create an alias',
      '201',
      () => admin.post('/v1/aliases', { address: `x@${many.big}`, targets: [addressOf(8)] }),
    ],
    ['delete', '204', () => admin.delete(`/v1/mailboxes/${addressOf(9)}?account=delete`)],
    ['restore', '200', () => admin.post(`/v1/mailboxes/${addressOf(9)}/restore`)],
    ['purge', '204', () => admin.delete(`/v1/mailboxes/${addressOf(9)}?purge=true&account=delete`)],
  ]
  for (const [what, expected, act] of writes) {
    test(what, async (t) => {
      const run = await plansOf(async () => assert.equal(outcome(await act()), expected))
      t.diagnostic(`${most(run)} pages`)
      assertBounded(run, 500)
    })
  }
})

test('statistics are counted once for all who ask, and say when', { skip }, async () => {
  const isCount = ({ text }: RunPlan) => /count\(\*\)/.test(text)
  for (const [path, read] of [
    ['/v1/server', (body: Body) => body.statistics],
    [`/v1/domains/${many.big}/statistics`, (body: Body) => body],
  ] as const) {
    const first = await plansOf(async () => {
      const replies = await Promise.all([1, 2, 3, 4, 5].map(() => admin.get(path)))
      const moments = new Set(replies.map(({ body }) => read(body).as_of))
      assert.equal(moments.size, 1, path)
      assert.ok(Math.abs(Date.parse([...moments][0]) - Date.now()) < 60_000)
      assert.ok(read(replies[0]?.body).mailboxes >= many.mailboxes / 10 - 10)
    })
    assert.equal(first.filter((run) => isCount(run) && run.text.includes('mail.usage')).length, 1)
    const again = await plansOf(() => admin.get(path))
    assert.deepEqual(again.filter(isCount).length, 1, 'only whether it is large')
    for (const { buffers } of again) assert.ok(buffers <= 10_100)
  }
})

const functions: [string, (i: number) => string[]][] = [
  ['passdb', (i) => [addressOf(i), 'PLAIN', 'imap']],
  ['passdb', (i) => [nameOf(i), 'SCRAM-SHA-256', 'imap']],
  ['passdb', (i) => [`nobody${i}@${many.big}`, 'PLAIN', 'imap']],
  ['userdb', (i) => [addressOf(i), 'lmtp']],
  ['domain', (i) => [domainOf(many, i)]],
  ['mailbox', (i) => [nameOf(i), domainOf(many, i)]],
  ['mailbox', (i) => [`nobody${i}`, domainOf(many, i)]],
  ['alias', (i) => [nameOf(i), domainOf(many, i)]],
  ['alias', (i) => [`a${i * 10}`, many.big]],
  ['alias', (i) => [`nobody${i}`, many.big]],
  ['alias', () => ['postmaster', many.big]],
  ['recipient_access', (i) => [nameOf(i), domainOf(many, i)]],
  ['sender_login', (i) => [nameOf(i), domainOf(many, i)]],
  ['sender_login', (i) => [`a${i * 10}`, many.big]],
  ['offers_cram_md5', () => []],
]

const call = (name: string, args: string[]) =>
  `select * from mail.${name}(${args.map((text) => `'${text}'`)})`

describe('the mail servers are answered with a bounded number of pages', { skip }, () => {
  for (const [name, args] of functions) {
    test(`mail.${name}(${args(10)})`, async (t) => {
      // more often than plpgsql makes a plan for the values alone (PostgreSQL, PREPARE: five times)
      await mailServer.query(call(name, args(9))) // what the connection learns of the tables themselves
      const run = await plansOf(async () => {
        for (let i = 10; i < 20; i++) {
          await mailServer.query(call(name, args(i)))
        }
      })
      t.diagnostic(`${most(run)} pages`)
      assertBounded(run, 150)
    })
  }
})
