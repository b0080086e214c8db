import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { outcome } from '../support/client.ts'
import { connectAs } from '../support/mail.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const reader = await connectAs(service.admin.options.connectionString ?? '', 'read')
after(() => reader.end())

async function ask(name: 'mailbox' | 'alias' | 'sender_login' | 'recipient_access', address: string) {
  const at = address.lastIndexOf('@')
  const { rows } = await reader.query<{ r: string }>(`select r from mail.${name}($1, $2) as r`, [
    address.slice(0, at),
    address.slice(at + 1),
  ])
  return rows.map(({ r }) => r)
}

async function create(address: string, values: object = {}): Promise<void> {
  const body = { address, generate_password: true, allow_role_name: true, ...values }
  assert.equal(outcome(await admin.post('/v1/mailboxes', body)), '201')
}

const change = async (address: string, values: object) =>
  assert.equal(outcome(await admin.patch(`/v1/mailboxes/${address}`, values)), '200')

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['example.jp', 'other.jp']) await admin.post('/v1/domains', { name })
  for (const name of ['anna', 'bob', 'carl']) await create(`${name}@example.jp`)
})

describe('mail.alias of a mailbox', () => {
  test('is nothing while its mail is sent on to nobody', async () => {
    assert.deepEqual(await ask('alias', 'anna@example.jp'), [])
  })

  test('is the mailbox first, where Postfix stops, then those that it is sent on to', async () => {
    await change('anna@example.jp', { forward_to: ['me@elsewhere.example', 'bob@example.jp'] })
    const all = ['anna@example.jp', 'bob@example.jp', 'me@elsewhere.example']
    assert.deepEqual(await ask('alias', 'ANNA@Example.JP'), all)
    await change('anna@example.jp', { keep_copy: false })
    assert.deepEqual(await ask('alias', 'anna@example.jp'), all.slice(1))
    assert.deepEqual(await ask('mailbox', 'anna@example.jp'), ['anna@example.jp'])
    await change('anna@example.jp', { forward_to: null, keep_copy: true })
    assert.deepEqual(await ask('alias', 'anna@example.jp'), [])
  })

  test('has no detail but those that were given to it', async () => {
    await change('anna@example.jp', { forward_to: ['bob+from-anna@example.jp'] })
    for (const detail of ['+Shop', '+', '+a,evil@x.example', '+a b', '+"x"', '+ä'])
      assert.deepEqual(
        await ask('alias', `Anna${detail}@example.jp`),
        ['anna@example.jp', 'bob+from-anna@example.jp'],
        detail,
      )
    await change('anna@example.jp', { forward_to: [] })
  })

  test('leaves out who has vanished, is deleted or refuses mail; where none is left, the mailbox keeps it', async () => {
    const lost = ['gone@example.jp', 'purged@example.jp', 'shut@example.jp', 'left@moved.jp']
    await admin.post('/v1/domains', { name: 'moved.jp' })
    for (const address of lost) await create(address)
    await change('anna@example.jp', { forward_to: [...lost, 'bob@example.jp'], keep_copy: false })
    assert.deepEqual(await ask('alias', 'anna@example.jp'), [...lost, 'bob@example.jp'].sort())
    await change('shut@example.jp', { delivery: 'refuse' })
    await admin.delete('/v1/mailboxes/gone@example.jp')
    await admin.delete('/v1/mailboxes/purged@example.jp?purge=true')
    // what was an address here is none of another server's when the domain is
    await admin.delete('/v1/domains/moved.jp?mailboxes=delete&expect=1&purge=true')
    assert.deepEqual(await ask('alias', 'anna@example.jp'), ['bob@example.jp'])
    await change('anna@example.jp', { forward_to: lost }) // what is not new is not judged
    assert.deepEqual(await ask('alias', 'anna@example.jp'), [])
    await change('anna@example.jp', { forward_to: [], keep_copy: true })
  })

  test('is nothing while it refuses mail or is deleted itself', async () => {
    await create('leaver@example.jp', { forward_to: ['bob@example.jp'], keep_copy: false })
    assert.deepEqual(await ask('alias', 'leaver@example.jp'), ['bob@example.jp'])
    await change('leaver@example.jp', { delivery: 'refuse' })
    assert.deepEqual(await ask('alias', 'leaver@example.jp'), [])
    await change('leaver@example.jp', { delivery: 'accept' })
    await admin.delete('/v1/mailboxes/leaver@example.jp')
    assert.deepEqual(await ask('alias', 'leaver@example.jp'), [])
  })

  test('gives nobody the right to send as it', async () => {
    await change('carl@example.jp', { forward_to: ['bob@example.jp'], keep_copy: false })
    assert.deepEqual(await ask('sender_login', 'carl@example.jp'), ['carl@example.jp'])
    await change('carl@example.jp', { forward_to: [], keep_copy: true })
  })

  test('ends where postmaster’s mail and a mailbox are sent on to each other', async () => {
    await create('postmaster@other.jp')
    await admin.patch('/v1/domains/other.jp', { postmaster_address: 'bob@example.jp' })
    await change('bob@example.jp', { forward_to: ['postmaster@other.jp'], keep_copy: false })
    assert.deepEqual(await ask('alias', 'bob@example.jp'), ['postmaster@other.jp'])
    await admin.delete('/v1/mailboxes/postmaster@other.jp?purge=true')
    assert.deepEqual(await ask('alias', 'bob@example.jp'), [])
    assert.deepEqual(await ask('alias', 'postmaster@other.jp'), [], 'then nobody gets it')
    await change('bob@example.jp', { keep_copy: true })
    assert.deepEqual(await ask('alias', 'postmaster@other.jp'), ['bob@example.jp'])
    await change('bob@example.jp', { forward_to: [] })
    await admin.patch('/v1/domains/other.jp', { postmaster_address: null })
  })
})

describe('aliases and alias domains', () => {
  before(async () => {
    await admin.post('/v1/domains', { name: 'alias.jp', alias_of: 'example.jp' })
    await create('dora@example.jp', { forward_to: ['bob@example.jp'] })
    await create('emil@example.jp')
    const alias = { address: 'team@example.jp', targets: ['dora@example.jp', 'emil@example.jp'] }
    assert.equal(outcome(await admin.post('/v1/aliases', alias)), '201')
  })

  test('lead to what a mailbox sends on to', async () => {
    assert.deepEqual(await ask('alias', 'team@alias.jp'), [
      'bob@example.jp',
      'dora@example.jp',
      'emil@example.jp',
    ])
    assert.deepEqual(await ask('alias', 'dora+x@alias.jp'), ['bob@example.jp', 'dora@example.jp'])
    assert.deepEqual(await ask('alias', 'dora@example.jp'), ['dora@example.jp', 'bob@example.jp'])
  })

  test('lead to no mailbox that takes no mail, and are unknown where none else is left', async () => {
    await change('dora@example.jp', { delivery: 'refuse' })
    assert.deepEqual(await ask('alias', 'team@example.jp'), ['emil@example.jp'])
    assert.match((await ask('recipient_access', 'dora@alias.jp'))[0] ?? '', /^550 5\.2\.1 /)
    assert.deepEqual(await ask('recipient_access', 'team@example.jp'), [])
    await change('emil@example.jp', { delivery: 'refuse' })
    assert.deepEqual(await ask('alias', 'team@example.jp'), [])
    assert.deepEqual(await ask('mailbox', 'team@example.jp'), [])
    const { broken_targets } = (await admin.get('/v1/aliases/team@example.jp')).body
    assert.deepEqual(broken_targets, ['dora@example.jp', 'emil@example.jp'])
    for (const name of ['dora', 'emil']) await change(`${name}@example.jp`, { delivery: 'accept' })
  })

  test('end where an alias and a mailbox are sent on to each other', async () => {
    await change('emil@example.jp', { forward_to: ['team@alias.jp'], keep_copy: false })
    const others = ['bob@example.jp', 'dora@example.jp']
    assert.deepEqual(await ask('alias', 'emil@example.jp'), others)
    assert.deepEqual(await ask('alias', 'team@example.jp'), others)
    await change('dora@example.jp', { forward_to: ['emil@example.jp'], keep_copy: false })
    for (const name of ['emil', 'dora']) assert.deepEqual(await ask('alias', `${name}@example.jp`), [])
  })

  test('are asked of nobody while the domain does not accept mail: it goes elsewhere', async () => {
    await change('dora@example.jp', { delivery: 'refuse' })
    await admin.patch('/v1/domains/example.jp', { accepts_mail: false })
    for (const name of ['dora@example.jp', 'dora@alias.jp', 'emil@example.jp'])
      assert.deepEqual(await ask('recipient_access', name), [], name)
    assert.deepEqual(await ask('alias', 'emil@example.jp'), [])
    await admin.patch('/v1/domains/example.jp', { accepts_mail: true })
    assert.match((await ask('recipient_access', 'dora@alias.jp'))[0] ?? '', /^550 /)
  })
})

describe('mail.recipient_access', () => {
  test('refuses for a mailbox that takes no mail, with a detail too, and says nothing of others', async () => {
    assert.deepEqual(await ask('recipient_access', 'anna@example.jp'), [])
    await change('anna@example.jp', { delivery: 'refuse' })
    for (const address of ['anna@example.jp', 'ANNA+x@EXAMPLE.jp'])
      assert.match((await ask('recipient_access', address))[0] ?? '', /^550 5\.2\.1 /)
    for (const address of ['anna@other.jp', 'nobody@example.jp', '@example.jp', 'anna@'])
      assert.deepEqual(await ask('recipient_access', address), [], address)
    await change('anna@example.jp', { delivery: 'accept' })
    assert.deepEqual(await ask('recipient_access', 'anna@example.jp'), [])
  })

  test('takes mail that is all sent on, however full the mailbox is', async () => {
    await change('anna@example.jp', { forward_to: ['bob@example.jp'] })
    assert.deepEqual(await ask('recipient_access', 'anna@example.jp'), [])
    await change('anna@example.jp', { keep_copy: false })
    assert.deepEqual(await ask('recipient_access', 'anna@example.jp'), ['OK'])
    await change('anna@example.jp', { forward_to: [], keep_copy: true })
  })

  test('says nothing of a deleted mailbox, which is unknown', async () => {
    await create('late@example.jp', { delivery: 'refuse' })
    await admin.delete('/v1/mailboxes/late@example.jp')
    assert.deepEqual(await ask('recipient_access', 'late@example.jp'), [])
  })
})

describe('who may log in from or until a moment', () => {
  const login = async () => {
    const { rows } = await reader.query(`select "user" from mail.passdb('timed@example.jp', 'PLAIN', 'imap')`)
    const [sender] = await ask('sender_login', 'timed@example.jp')
    assert.equal(rows.length, 1, 'a decoy otherwise')
    assert.equal(rows[0].user ?? undefined, sender, 'who may log in may send')
    return rows[0].user === 'timed@example.jp'
  }
  const minute = 60_000
  const from = (ms: number) => new Date(Date.now() + ms).toISOString()

  before(() => create('timed@example.jp'))

  const periods: [what: string, period: () => object, works: boolean][] = [
    ['no limit', () => ({}), true],
    ['a past beginning', () => ({ login_from: from(-minute) }), true],
    ['a future beginning', () => ({ login_from: from(minute) }), false],
    ['a future end', () => ({ login_until: from(minute) }), true],
    ['a past end', () => ({ login_until: from(-minute) }), false],
    ['a time that is', () => ({ login_from: from(-minute), login_until: from(minute) }), true],
    ['a time that is over', () => ({ login_from: from(-2 * minute), login_until: from(-minute) }), false],
    ['a time to come', () => ({ login_from: from(minute), login_until: from(2 * minute) }), false],
  ]
  for (const [what, period, works] of periods)
    test(`${works ? 'may' : 'may not'} with ${what}`, async () => {
      await admin.patch('/v1/accounts/timed', { login_from: null, login_until: null, ...period() })
      assert.equal(await login(), works)
      assert.deepEqual(
        await ask('mailbox', 'timed@example.jp'),
        ['timed@example.jp'],
        'mail is taken all the time',
      )
    })
})

describe('however mailboxes send on to each other', () => {
  const names = ['m0', 'm1', 'm2', 'm3', 'm4', 'm5']
  const toAddress = (name: string) => `${name}@example.jp`
  const places = [...names.map(toAddress), 'out@elsewhere.example', 'never@example.jp']

  const isOutside = (address: string) => address.endsWith('@elsewhere.example')

  interface Node {
    to: string[]
    keeps: boolean
    refuses: boolean
  }
  type Graph = Map<string, Node>

  const node = fc.record({
    to: fc.uniqueArray(fc.constantFrom(...places), { maxLength: 3 }),
    keeps: fc.boolean(),
    refuses: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  })
  const graphs = fc
    .array(node, { minLength: names.length, maxLength: names.length })
    .map((nodes): Graph => new Map(nodes.map((one, i) => [toAddress(names[i]!), one])))

  before(async () => {
    for (const name of names) await create(toAddress(name))
  })

  async function write(graph: Graph): Promise<void> {
    for (const [address, { to, keeps, refuses }] of graph)
      await service.admin.query(
        `update app.mailboxes set forward_to = $2, forwarded = $3, keep_copy = $4, delivery = $5 where name = $1`,
        [address.split('@')[0], to, to.filter(isOutside), keeps, refuses ? 'refuse' : 'accept'],
      )
  }

  /** Where a message should be at last: everywhere that it can get to and stay, else where it was sent. */
  function model(graph: Graph, start: string): string[] {
    const seen = new Set([start])
    for (const address of seen) {
      const here = graph.get(address)
      if (here && !here.refuses) for (const next of here.to) seen.add(next)
    }
    const stays = (address: string) => {
      const here = graph.get(address)
      if (!here) return isOutside(address)
      return !here.refuses && (here.keeps || here.to.length === 0)
    }
    const last = [...seen].filter(stays)
    return last.length > 0 ? last.sort() : [start]
  }

  /** As Postfix expands (cleanup_map1n_internal): each result again, until one has stood for itself or stands for nothing. */
  async function expand(start: string): Promise<{ recipients: string[]; deepest: number }> {
    const list = [start]
    const been = new Set<string>()
    let deepest = 0
    for (let i = 0; i < list.length; i++) {
      for (let depth = 0; !been.has(list[i]!); depth++) {
        assert.ok(depth < 20, `${list[i]} is nested without an end`)
        deepest = Math.max(deepest, depth)
        const from = list[i]!
        const found = await ask('alias', from)
        if (found.length === 0) break
        list[i] = found[0]!
        list.push(...found.slice(1))
        if (found.includes(from)) been.add(from)
      }
      assert.ok(list.length < 1000)
    }
    return { recipients: [...new Set(list)].sort(), deepest }
  }

  test('each message gets to everywhere that it can get to and stay, once, and no look-up nests deeply', async () => {
    await fc.assert(
      fc.asyncProperty(graphs, async (graph) => {
        await write(graph)
        for (const [start, { refuses }] of graph) {
          if (refuses) continue // Postfix is told at RCPT
          const { recipients, deepest } = await expand(start)
          assert.deepEqual(recipients, model(graph, start))
          assert.ok(deepest <= 2)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('two without a copy keep what is sent to them, and a long chain gets to its end', async () => {
    const chain = names.map(toAddress)
    const linked = (last: string[]): Graph =>
      new Map(
        chain.map((one, i) => [
          one,
          { to: chain[i + 1] ? [chain[i + 1]!] : last, keeps: false, refuses: false },
        ]),
      )
    await write(linked(['out@elsewhere.example']))
    assert.deepEqual(await ask('alias', chain[0]!), ['out@elsewhere.example'])
    await write(linked([chain[0]!]))
    for (const one of chain) assert.deepEqual(await ask('alias', one), [])
  })
})
