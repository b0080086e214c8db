import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Scope, scopes } from '../../src/scopes.ts'
import { type Client, createClient, outcome } from '../support/client.ts'
import {
  calls,
  forbiddenOperations,
  limitedOperations,
  namesIn,
  requestsFor,
  type Words,
} from '../support/isolation-calls.ts'
import { fillWorld } from '../support/isolation-world.ts'
import { bodyFor, guardedOperations, pathFor } from '../support/operations.ts'
import type { Caller } from '../support/service.ts'
import { makeToken } from '../support/tokens.ts'
import { ownDomains, type Request, startWorlds } from '../support/worlds.ts'

// What lies outside a caller's domains answers exactly like what does not exist: the same request gets the same answer,
// to the octet, of an installation in which others have something and of one in which they have not. ISOLATION_RUNS=20
// asks twenty times as much, and ISOLATION_SHRINK=1 looks for the shortest sequence that tells a difference.

const stored: Record<string, string> = {}
const worlds = await startWorlds(async (service, admin) => {
  await fillWorld(service, admin)
  Object.assign(stored, await makeStoredTokens(service.url, admin))
})
const { full, bare, base } = worlds

/** Tokens of each kind that POST /v1/tokens makes, by what they are. */
async function makeStoredTokens(url: string, admin: Client): Promise<Record<string, string>> {
  const make = async (maker: Client, wish: object) => {
    const { client } = await makeToken(url, maker, { scopes, label: 'caller', ...wish })
    return client
  }
  const wide = await make(admin, { domains: ['a.jp', 'b.jp', 'f-foreign.jp'] })
  const narrow = await make(wide, { domains: ['a.jp', 'b.jp'] })
  const made = {
    'without a parent': await make(admin, { domains: ['a.jp'] }),
    'with a parent that has more': narrow,
    'of a limited one': await make(narrow, { domains: ['a.jp'] }),
    'for this address': await make(admin, { domains: ['a.jp'], allowed_ips: ['127.0.0.0/8'] }),
    'for another address': await make(admin, { domains: ['a.jp'], allowed_ips: ['192.0.2.1'] }),
    'that seals': await make(admin, { domains: ['a.jp', 'b.jp'], password_delivery: 'sealed' }),
  }
  return Object.fromEntries(Object.entries(made).map(([what, { token }]) => [what, token]))
}

const rowsOf = (table: string) => base[`app.${table}`] as Record<string, string>[]
const words = <T>(texts: T[]) => fc.constantFrom(...texts)
const addresses = rowsOf('addresses').map(({ name, domain }) => `${name}@${domain}`)
const ids = rowsOf('mailboxes').map(({ id }) => id!)
const versions = ['domains', 'mailboxes', 'accounts', 'aliases', 'tokens'].flatMap((table) =>
  rowsOf(table).map(({ version }) => `"${version}"`),
)
const nobodysId = '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e'

const aliases = rowsOf('aliases').map(({ name, domain }) => `${name}@${domain}`)
/** Aliases that are made, and lead to each other. */
const chain = ['t1', 't2', 't3', 't4', 't5', 'f-boss', 'postmaster']
const inOwn = (names: string[], domains: string[]) =>
  fc.tuple(words(names), words(domains)).map((parts) => parts.join('@'))

const everything: Words = {
  domain: fc.oneof(
    { weight: 3, arbitrary: words(['a.jp', 'b.jp']) },
    words([...rowsOf('domains').map(({ name }) => name!), 'nothing.jp', 'f.jp.f-x']),
  ),
  mailbox: fc.oneof(
    words([
      ...addresses,
      ...ids,
      nobodysId,
      'nobody@a.jp',
      'f-nobody@f-foreign.jp',
      'n1@a.jp',
      'n2@a.jp',
      'n1@b.jp',
      'one@f-brand.jp',
    ]),
    words(['one@a.jp', 'two@a.jp', 'three@b.jp', 'moved@a.jp', 'new@a.jp']),
  ),
  account: words([...rowsOf('accounts').map(({ name }) => name!), 'nobody', 'n1', 'n2', 'f-nobody']),
  alias: fc.oneof(
    words(aliases),
    words([...addresses, '@a.jp', 'f-nobody@f-foreign.jp', '@f-brand.jp', 'one@f-brand.jp']),
    inOwn(chain, ['a.jp', 'b.jp', 'a-brand.jp']),
  ),
  token: words([...rowsOf('tokens').map(({ id }) => id!), nobodysId, 'x']),
  import: words([...rowsOf('imports').map(({ id }) => id!), nobodysId, 'x']),
  target: fc.oneof(
    words([...aliases, ...addresses, 'one+x@a.jp', 'one@nothing.jp', 'f-nobody@f-foreign.jp']),
    inOwn(chain, ['a.jp', 'b.jp', 'f-brand.jp', 'a-brand.jp']),
    inOwn(['one', 'new', 'three'], ['a.jp', 'b.jp', 'f-brand.jp', 'a-brand.jp']),
  ),
  etag: words([...versions, '*', '"another"']),
  dryRun: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, fc.constant(true)),
}

const someScopes: fc.Arbitrary<readonly Scope[]> = fc.oneof(
  { weight: 6, arbitrary: fc.constant(scopes) },
  { weight: 2, arbitrary: words([...scopes]).map((left) => scopes.filter((scope) => scope !== left)) },
  { weight: 1, arbitrary: fc.subarray([...scopes], { minLength: 1 }) },
)
const signed: fc.Arbitrary<Caller> = fc.record({
  domains: fc.subarray([...ownDomains, 'nothing.jp']),
  scopes: someScopes,
  subject: fc.constantFrom('caller', 'other'),
  ...{ passwordDelivery: fc.constantFrom(undefined, undefined, 'sealed' as const) },
}) as fc.Arbitrary<Caller>

const tokens = new Map<string, Promise<string>>()

function tokenOf(caller: Caller | string): Promise<string> {
  if (typeof caller === 'string') return Promise.resolve(stored[caller]!)
  const key = JSON.stringify(caller)
  const { passwordDelivery, ...rest } = caller
  if (!tokens.has(key))
    tokens.set(key, full.token({ ...rest, ...(passwordDelivery && { passwordDelivery }) }))
  return tokens.get(key)!
}

const usual: fc.Arbitrary<Caller> = words([['a.jp'], ['a.jp', 'b.jp'], ownDomains]).map((domains) => ({
  domains,
}))
const callers = fc.oneof(usual, usual, signed, words(Object.keys(stored)))

async function assertSame(request: Request, caller: Caller | string): Promise<void> {
  const { answers, full: reply } = await worlds.ask(request, await tokenOf(caller))
  assert.deepEqual(answers[0], answers[1], JSON.stringify([request, caller]))
  assert.ok(reply.status < 500, JSON.stringify([request, caller, reply.body]))
}

const isOthers = (text: string) => /^f-|@f-/.test(text)
/** What others have. */
const others = {
  domain: rowsOf('domains')
    .map(({ name }) => name!)
    .filter(isOthers),
  mailbox: [
    ...[...addresses, ...rowsOf('mailboxes').map(({ name, domain }) => `${name}@${domain}`)].filter(isOthers),
    ...rowsOf('mailboxes')
      .filter(({ name }) => isOthers(name!))
      .map(({ id }) => id!),
  ],
  account: rowsOf('accounts')
    .map(({ name }) => name!)
    .filter(isOthers),
  alias: aliases.filter(isOthers),
  token: rowsOf('tokens')
    .filter(({ domains }) => /f-|[*]/.test(String(domains)))
    .map(({ id }) => id!),
  import: rowsOf('imports').map(({ id }) => id!),
}

const writing = limitedOperations.filter(({ method }) => method !== 'get')
const seeds = Number(process.env.ISOLATION_RUNS ?? 1)

test('the table says of every operation how it is called', () => {
  assert.deepEqual(Object.keys(calls).sort(), guardedOperations.map(({ operationId }) => operationId).sort())
})

test('the one with all domains sees what is of others', async () => {
  const [there, here] = [await full.as(), createClient(bare.url, await full.token())]
  for (const path of [
    '/v1/mailboxes/f-boss@f-foreign.jp',
    '/v1/domains/f-brand.jp',
    '/v1/accounts/f-alone',
    '/v1/aliases/f-round@f-foreign.jp',
  ]) {
    assert.equal(outcome(await there.get(path)), '200', path)
    assert.match(outcome(await here.get(path)), /^404/, path)
  }
})

test('what is for callers with all domains is refused to others, whatever it names', async () => {
  for (const operation of forbiddenOperations) {
    for (const domain of [...ownDomains, 'f-foreign.jp', 'nothing.jp']) {
      const target = { domain, mailbox: `one@${domain}`, account: 'f-boss' }
      const body = bodyFor(operation, target)
      const request = {
        method: operation.method.toUpperCase(),
        path: pathFor(operation, target),
        ...(body && { body }),
      }
      for (const caller of [{ domains: [domain] }, { domains: [] }, ...Object.keys(stored)]) {
        const { answers, full: reply } = await worlds.ask(request, await tokenOf(caller))
        assert.deepEqual(answers[0], answers[1])
        assert.match(outcome(reply), caller === 'for another address' ? /^401/ : /^403 insufficient-scope/)
      }
    }
  }
  await worlds.assertUntouched()
})

/** Tried only, so that each finds what the one before it found. */
const tried = { ...everything, dryRun: fc.constant(true) }

for (const operation of limitedOperations) {
  test(`${operation.operationId} finds nothing of others, whatever it names`, async () => {
    const named = namesIn(operation).flatMap((what) =>
      others[what].map((word) => requestsFor(operation, { ...tried, [what]: fc.constant(word) })),
    )
    const random = Array.from({ length: 15 }, () => requestsFor(operation, tried))
    for (const request of [...named, ...random]) {
      for (const [one, caller] of fc.sample(fc.tuple(request, callers), seeds)) await assertSame(one, caller)
    }
  })
}

test('to try is not to do', () => worlds.assertUntouched())

const movedNames = [
  'moved@a.jp',
  ...rowsOf('mailboxes')
    .filter(({ name }) => name === 'moved')
    .map(({ id }) => id!),
]

/** But the purge of what has left its old name in a domain of others, which takes that along. */
const withoutMoved = { ...tried, mailbox: tried.mailbox.filter((text) => !movedNames.includes(text)) }

test('nothing waits for what is held of others', async () => {
  const holder = await full.admin.connect()
  await holder.query('begin')
  try {
    for (const table of ['domains', 'accounts'])
      await holder.query(`select from app.${table} where name like 'f-%' for update`)
    for (const table of ['addresses', 'mailboxes', 'aliases'])
      await holder.query(`select from app.${table} where domain like 'f-%' or name like 'f-%' for update`)
    await holder.query('select from app.tokens where id = any ($1) for update', [others.token])
    for (const operation of limitedOperations) {
      const drawn = fc.tuple(requestsFor(operation, withoutMoved), callers)
      for (const [request, caller] of fc.sample(drawn, 8 * seeds)) await assertSame(request, caller)
    }
  } finally {
    await holder.query('rollback')
    holder.release()
  }
})

type Steps = [Request, Caller | string][]

function assertAlike(step: fc.Arbitrary<Steps[number]>, { runs, length }: { runs: number; length: number }) {
  const steps = fc.array(step, { minLength: Math.floor(length / 4), maxLength: length, size: 'max' })
  const property = fc.asyncProperty(steps, async (all: Steps) => {
    await worlds.reset()
    for (const [request, caller] of all) await assertSame(request, caller)
    await worlds.assertUntouched()
  })
  return fc.assert(property, {
    numRuns: runs * seeds,
    endOnFailure: process.env.ISOLATION_SHRINK === undefined,
  })
}

test('whatever callers do, they reach nothing of others, and tell no difference', () => {
  const operation = fc.oneof(words(writing), words(writing), words(limitedOperations))
  const step = fc.tuple(
    operation.chain((one) => requestsFor(one, everything)),
    callers,
  )
  return assertAlike(step, { runs: 10, length: 60 })
})

test('nor does what leads through a domain of others that stands for one of theirs', () => {
  const among = ['createAlias', 'createAlias', 'updateAlias', 'renameMailbox']
  const operations = among.map((id) => limitedOperations.find(({ operationId }) => operationId === id)!)
  const narrow: Words = {
    ...everything,
    domain: fc.constant('a.jp'),
    mailbox: inOwn(['one', 'two', 'n1', 'n2'], ['a.jp']),
    alias: inOwn(chain, ['a.jp']),
    target: inOwn(chain, ['a.jp', 'f-brand.jp', 'f-brand.jp', 'a-brand.jp']),
    etag: fc.constant('*'),
    dryRun: fc.constant(false),
  }
  const step = fc.tuple(
    words(operations).chain((one) => requestsFor(one, narrow)),
    words([['a.jp'], ['a.jp', 'a-brand.jp']]).map((domains) => ({ domains })),
  )
  return assertAlike(step, { runs: 8, length: 60 })
})
