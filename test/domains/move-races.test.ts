import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { assertOutcomes, link, startRaces } from '../support/races.ts'

// A move at the same moment as something else; deadlocks would be answered with 503.

const { service, here, there, race, newDomain, newName, newAccounts, newMailbox, count } = await startRaces()
const { admin } = service

afterEach(() => assertInvariants(admin))

const move = (client: Client, from: string, to: string, more: object = {}) =>
  client.post(`/v1/domains/${from}/move`, { to, ...more })
const newMailboxes = async (domain: string, number: number) => {
  const addresses: string[] = []
  for (let i = 0; i < number; i++) addresses.push(await newMailbox(domain))
  return addresses
}

test('creates in both domains are moved, or refused, or come after', async () => {
  for (let round = 0; round < 6; round++) {
    const [from, to] = [await newDomain(), await newDomain(round % 2 ? { mailbox_limit: 1000 } : {})]
    await newMailboxes(from, 5)
    const names = await newAccounts(20)
    const moved = move(here, from, to, { keep_old_as_alias: round % 3 !== 0 })
    const created = race(20, (client, i) => link(client, `${names[i]}@${i % 2 ? from : to}`))
    assert.equal(outcome(await moved), '200')
    const outcomes = assertOutcomes(await created, '201', '422 alias-domain')
    const there = await count('mailboxes', `domain = any($1) and state = 'active'`, [from, to])
    assert.equal(there, 5 + outcomes['201']!)
    if (round % 3 !== 0) assert.equal(await count('mailboxes', 'domain = $1', from), 0)
  }
})

test('creates are never more than the limit of the new domain', async () => {
  for (let round = 0; round < 6; round++) {
    const [from, to] = [await newDomain(), await newDomain({ mailbox_limit: 6 })]
    await newMailboxes(from, 5)
    const names = await newAccounts(4)
    const [moved, ...created] = await Promise.all([
      move(there, from, to),
      ...names.map((name) => link(here, `${name}@${to}`)),
    ])
    assertOutcomes([moved!, ...created], '200', '201', '409 mailbox-limit-reached')
    assert.ok((await count('mailboxes', 'domain = $1', to)) <= 6)
  }
})

test('two moves in opposite directions are done one after the other', async () => {
  for (let round = 0; round < 8; round++) {
    const [one, two] = [await newDomain(), await newDomain()]
    await newMailboxes(one, 3)
    await newMailboxes(two, 3)
    const keep = { keep_old_as_alias: round % 2 === 0 }
    const replies = await Promise.all([move(here, one, two, keep), move(there, two, one, keep)])
    const outcomes = assertOutcomes(replies, '200', '422 alias-domain')
    assert.equal(outcomes['200'], keep.keep_old_as_alias ? 1 : 2)
    const sizes = [await count('mailboxes', 'domain = $1', one), await count('mailboxes', 'domain = $1', two)]
    assert.deepEqual(sizes.sort(), [0, 6])
  }
})

test('of two moves to different domains the second finds nothing left', async () => {
  const [from, one, two] = [await newDomain(), await newDomain(), await newDomain()]
  await newMailboxes(from, 3)
  const replies = await Promise.all([move(here, from, one), move(there, from, two)])
  assert.deepEqual(assertOutcomes(replies, '200', '422 alias-domain'), { '200': 1, '422 alias-domain': 1 })
})

test('renames, deletions, purges, restores and edits beside it leave each mailbox whole', async () => {
  for (let round = 0; round < 8; round++) {
    const [from, to, far] = [await newDomain(), await newDomain(), await newDomain()]
    const [a, b, c, d, e, f] = await newMailboxes(from, 6)
    const [g] = await newMailboxes(far, 1)
    await here.post(`/v1/mailboxes/${g}/rename`, { address: `${newName()}@${from}` })
    await here.post('/v1/aliases', { address: `x@${from}`, targets: [a] })
    await here.post('/v1/aliases', { address: `y@${far}`, targets: [a, b] })
    const replies = await Promise.all([
      move(here, from, to),
      there.post(`/v1/mailboxes/${a}/rename`, { address: `${newName()}@${far}` }),
      here.post(`/v1/mailboxes/${b}/rename`, { address: `${newName()}@${to}` }),
      there.delete(`/v1/mailboxes/${c}`),
      here.delete(`/v1/mailboxes/${d}?purge=true`),
      there.post(`/v1/mailboxes/${e}/restore`),
      here.patch(`/v1/mailboxes/${f}`, { quota_bytes: 1000, forward_to: [`${a}`] }),
      there.delete(`/v1/aliases/x@${from}`),
      here.patch(`/v1/aliases/y@${far}`, { send_as: true }),
      there.patch('/v1/server', { secure_password_mechanisms: round % 2 ? ['CRAM-MD5'] : ['SCRAM-SHA-256'] }),
    ])
    assertOutcomes(
      replies,
      ...[
        '200',
        '204',
        '404 mailbox-not-found',
        '404 alias-not-found',
        '422 alias-domain',
        '422 unknown-target',
      ],
    )
    assert.equal(replies[0]!.status, 200)
    assert.equal(await count('mailboxes', 'domain = $1', from), 0)
  }
})

test('the deletion of either domain beside it comes before or after', async () => {
  for (let round = 0; round < 10; round++) {
    const [from, to, far] = [await newDomain(), await newDomain(), await newDomain()]
    const addresses = await newMailboxes(from, 3)
    await newMailboxes(to, 2)
    const [friend] = await newMailboxes(far, 1)
    await here.patch(`/v1/mailboxes/${friend}`, { forward_to: addresses })
    await here.patch(`/v1/domains/${far}`, { postmaster_address: addresses[0] })
    const deletion = (domain: string, expect: number) =>
      there.delete(`/v1/domains/${domain}?mailboxes=delete&expect=${expect}${round % 2 ? '&purge=true' : ''}`)
    const replies = await Promise.all([
      move(here, from, to),
      round % 3 ? deletion(to, 2) : deletion(from, 3),
      deletion(far, 1),
    ])
    assertOutcomes(
      replies,
      ...['200', '204', '422 unknown-domain', '404 domain-not-found', '409 count-mismatch'],
      '409 domain-has-alias-domains',
    )
    assert.equal(replies[2]!.status, 204)
    assert.equal(replies.slice(0, 2).filter(({ status }) => status < 300).length, 1, 'one of the two is done')
  }
})

test('aliases that are made in both domains at once are moved, collide, or come after', async () => {
  for (let round = 0; round < 8; round++) {
    const [from, to] = [await newDomain(), await newDomain()]
    const [address] = await newMailboxes(from, 1)
    const alias = (client: Client, domain: string): Promise<Reply> =>
      client.post('/v1/aliases', { address: `desk@${domain}`, targets: [address] })
    const replies = await Promise.all([alias(here, from), move(there, from, to), alias(here, to)])
    assertOutcomes(
      replies,
      ...['200', '201', '409 addresses-taken', '409 alias-exists', '422 alias-domain', '422 unknown-target'],
    )
    assert.equal((await count('addresses', `name = 'desk' and domain = any($1)`, [from, to])) > 0, true)
  }
})

test('mail that is sent on to an address that moves is sent on to where it is, or refused', async () => {
  for (let round = 0; round < 6; round++) {
    const [from, to, far] = [await newDomain(), await newDomain(), await newDomain()]
    const [target] = await newMailboxes(from, 1)
    const [patched] = await newMailboxes(far, 1)
    const forward_to = [target!]
    const created = race(4, (client) =>
      client.post('/v1/mailboxes', {
        address: `${newName()}@${far}`,
        password: 'correct horse battery',
        forward_to,
      }),
    )
    const changed = here.patch(`/v1/mailboxes/${patched}`, { forward_to })
    const moved = move(there, from, to, { keep_old_as_alias: false })
    assertOutcomes(await created, '201', '422 unknown-target')
    assertOutcomes([await changed], '200', '422 unknown-target')
    assert.equal(outcome(await moved), '200')
    assert.equal(
      await count('mailboxes', '$1 = any (forward_to)', target!),
      0,
      'nothing sends to the old one',
    )
  }
})
