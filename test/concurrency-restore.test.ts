import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { purgeExpired } from '../src/jobs/expired.ts'
import { type Client, outcome, type Reply } from './support/client.ts'
import { assertInvariants } from './support/invariants.ts'
import { assertOutcomes, link, startRaces } from './support/races.ts'

// What is deleted and restored at the same moment as something else happens to it.

const races = await startRaces()
const { service, here, there, race, newDomain, newAccounts, newMailbox, count } = races
const { holding, untilWaiting } = races
const { admin } = service

afterEach(() => assertInvariants(admin))

const mailboxPath = (address: string) => `/v1/mailboxes/${address}`
const domainPath = (domain: string) => `/v1/domains/${domain}`
const restore = (client: Client, path: string) => client.post(`${path}/restore`)
const removal = (domain: string, expect: number, more = '') =>
  `${domainPath(domain)}?mailboxes=delete&expect=${expect}${more}`

const withAccount = ['', '?account=delete'] as const
async function deletedMailbox(domain: string, round: number): Promise<string> {
  const address = await newMailbox(domain)
  await here.delete(`${mailboxPath(address)}${withAccount[round % 2]}`)
  return address
}

async function deletedDomain(mailboxes: number, more = ''): Promise<{ domain: string; addresses: string[] }> {
  const domain = await newDomain()
  const addresses: string[] = []
  for (let i = 0; i < mailboxes; i++) addresses.push(await newMailbox(domain))
  assertOutcomes([await here.delete(removal(domain, mailboxes, more))], '204')
  return { domain, addresses }
}

const nameOf = (address: string) => address.split('@')[0]!

function assertOneVersion(replies: Reply[]): void {
  assertOutcomes(replies, '200')
  assert.equal(new Set(replies.map(({ etag }) => etag)).size, 1, 'it was written once')
}

test('of many restores of a mailbox or a domain one writes and the others find it done', async () => {
  for (let round = 0; round < 10; round++) {
    const path = mailboxPath(await deletedMailbox(await newDomain(), round))
    assertOneVersion(await race(8, (client) => restore(client, path)))
    const { domain, addresses } = await deletedDomain(2, round % 2 ? '&accounts=delete' : '')
    assertOneVersion(await race(8, (client) => restore(client, domainPath(domain))))
    assert.equal(await count('mailboxes', `name = any($1) and state = 'active'`, addresses.map(nameOf)), 2)
  }
})

test('a mailbox that is restored while it is purged is gone afterwards', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 30; round++) {
    const address = await deletedMailbox(domain, round)
    const replies = await race(2, (client, i) =>
      i === (round >> 1) % 2
        ? restore(client, mailboxPath(address))
        : client.delete(`${mailboxPath(address)}?purge=true`),
    )
    assertOutcomes(replies, '200', '204', '404 mailbox-not-found')
    assert.equal(replies.filter(({ status }) => status === 204).length, 1)
    assert.equal(await count('mailboxes', 'name = $1', nameOf(address)), 0)
    await assertInvariants(admin)
  }
})

test('a mailbox that is restored while it is deleted with its account waits, and has it back', async () => {
  const address = await newMailbox(await newDomain())
  const replies = await holding('accounts', nameOf(address), async () => {
    const deleted = here.delete(`${mailboxPath(address)}?account=delete`)
    await untilWaiting(1) // it has the mailbox and needs the account
    const restored = restore(there, mailboxPath(address))
    await untilWaiting(2)
    return [deleted, restored]
  })
  assert.deepEqual(replies.map(outcome), ['204', '200'])
  assert.equal(outcome(await here.get(`/v1/accounts/${nameOf(address)}`)), '200')
})

test('a mailbox whose time is over is restored or purged, never half', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 15; round++) {
    const addresses = [await deletedMailbox(domain, 0), await deletedMailbox(domain, 1)]
    const names = addresses.map(nameOf)
    await admin.query('update app.mailboxes set purge_at = now() where name = any($1)', [names])
    const purge = purgeExpired(service.db)
    const replies = await race(2, (client, i) => restore(client, mailboxPath(addresses[i]!)))
    await purge
    const counts = assertOutcomes(replies, '200', '404 mailbox-not-found')
    const live = await count('mailboxes', `name = any($1) and state = 'active'`, names)
    assert.deepEqual(
      [live, await count('mailboxes', 'name = any($1)', names)],
      Array(2).fill(counts['200'] ?? 0),
    )
    await assertInvariants(admin)
  }
})

test('a limit of five lets five in, made or restored', async () => {
  const domain = await newDomain()
  const deleted: string[] = []
  for (let i = 0; i < 20; i++) deleted.push(await deletedMailbox(domain, i))
  await here.patch(domainPath(domain), { mailbox_limit: 5 })
  const names = await newAccounts(20)
  const replies = await race(40, (client, i) => {
    const nth = (i >> 2) * 2 + (i % 2)
    return i % 4 < 2 ? restore(client, mailboxPath(deleted[nth]!)) : link(client, `${names[nth]}@${domain}`)
  })
  const counts = assertOutcomes(replies, '200', '201', '409 mailbox-limit-reached')
  assert.equal((counts['200'] ?? 0) + (counts['201'] ?? 0), 5)
  assert.equal(await count('mailboxes', `domain = $1 and state = 'active'`, domain), 5)
})

test('a limit that is set while mailboxes are restored holds from then on', async () => {
  for (let round = 0; round < 5; round++) {
    const domain = await newDomain()
    const deleted: string[] = []
    for (let i = 0; i < 16; i++) deleted.push(await deletedMailbox(domain, i))
    const restores = race(16, (client, i) => restore(client, mailboxPath(deleted[i]!)))
    const patched = await there.patch(domainPath(domain), { mailbox_limit: 5 })
    assertOutcomes([...(await restores), patched], '200', '409 mailbox-limit-reached')
    const expected = Math.max(5, patched.body.mailbox_count)
    assert.equal(await count('mailboxes', `domain = $1 and state = 'active'`, domain), expected)
  }
})

for (const [what, more] of [
  ['kept until its purge', ''],
  ['purged', '&purge=true'],
] as const) {
  test(`a mailbox is restored, or its domain is deleted (${what}) without it`, async () => {
    for (let round = 0; round < 20; round++) {
      const domain = await newDomain()
      await newMailbox(domain)
      const address = await deletedMailbox(domain, round)
      const replies = await race(2, (client, i) =>
        i === (round >> 1) % 2
          ? restore(client, mailboxPath(address))
          : client.delete(removal(domain, 1, more)),
      )
      const first = '200, 409 count-mismatch'
      const second = more === '' ? '204, 409 domain-deleted' : '204, 404 mailbox-not-found'
      const both = Object.keys(assertOutcomes(replies, ...first.split(', '), ...second.split(', ')))
      assert.ok([first, second].includes(both.sort().join(', ')), both.join(', '))
      await assertInvariants(admin)
    }
  })
}

test('the last mailbox of a deleted domain, purged while the domain is restored, leaves it whole or gone', async () => {
  for (let round = 0; round < 30; round++) {
    const { domain, addresses } = await deletedDomain(1, round % 2 ? '&accounts=delete' : '')
    const replies = await race(2, (client, i) =>
      i === (round >> 1) % 2
        ? restore(client, domainPath(domain))
        : client.delete(`${mailboxPath(addresses[0]!)}?purge=true`),
    )
    const counts = assertOutcomes(replies, '200', '204', '404 domain-not-found')
    assert.equal(counts['204'], 1)
    assert.equal(await count('domains', `name = $1 and state = 'active'`, domain), counts['200'] ?? 0)
    assert.equal(await count('mailboxes', 'domain = $1', domain), 0)
    await assertInvariants(admin)
  }
})

test('nor a deleted domain without a mailbox, when it is deleted again in the middle of that purge', async () => {
  const { domain, addresses } = await deletedDomain(1)
  const [address = ''] = addresses
  let purged: Promise<Reply>
  const replies = await holding('accounts', nameOf(address), async () => {
    const restored = await holding('domains', domain, async () => {
      const sent = restore(here, domainPath(domain))
      await untilWaiting(1)
      purged = there.delete(`${mailboxPath(address)}?purge=true&account=delete`)
      await untilWaiting(2) // it has seen that the domain is deleted
      return [sent]
    })
    assertOutcomes(restored, '200')
    await untilWaiting(1) // the purge needs the account
    const deleted = here.delete(removal(domain, 1))
    await untilWaiting(2)
    return [purged, deleted]
  })
  assert.deepEqual(replies.map(outcome), ['204', '409 count-mismatch'])
  assert.equal(await count('domains', `name = $1 and state = 'active'`, domain), 1)
})

test('a domain that is purged while it is restored is gone afterwards', async () => {
  for (let round = 0; round < 15; round++) {
    const { domain, addresses } = await deletedDomain(2, '&accounts=delete')
    const replies = await race(2, (client, i) =>
      i === round % 2
        ? restore(client, domainPath(domain))
        : client.delete(`${domainPath(domain)}?purge=true`),
    )
    const counts = assertOutcomes(replies, '200', '204', '404 domain-not-found', '409 domain-not-empty')
    const there = counts['409 domain-not-empty'] ?? 0
    assert.equal(await count('domains', `name = $1 and state = 'active'`, domain), there)
    assert.equal(await count('accounts', 'name = any($1)', addresses.map(nameOf)), 2 * there)
  }
})

test('mailboxes are made in a domain only after it is restored, and its name is never free', async () => {
  for (let round = 0; round < 8; round++) {
    const { domain, addresses } = await deletedDomain(2)
    const names = await newAccounts(16)
    const replies = await race(20, (client, i) => {
      if (i === 8) return restore(client, domainPath(domain))
      if (i > 16) return client.post('/v1/domains', { name: domain })
      return link(client, `${names[i % 16]}@${domain}`)
    })
    const known = ['200', '201', '422 unknown-domain', '409 domain-deleted', '409 domain-exists']
    const counts = assertOutcomes(replies, ...known, '409 mailbox-exists')
    assert.equal(counts['200'], 1)
    const live = await count('mailboxes', `domain = $1 and state = 'active'`, domain)
    assert.equal(live, addresses.length + (counts['201'] ?? 0))
  }
})

test('a mailbox is restored with its domain or after it', async () => {
  for (let round = 0; round < 15; round++) {
    const { domain, addresses } = await deletedDomain(2)
    const replies = await race(6, (client, i) =>
      i === round % 6 ? restore(client, domainPath(domain)) : restore(client, mailboxPath(addresses[i % 2]!)),
    )
    assertOutcomes(replies, '200', '409 domain-deleted')
    assert.equal(await count('mailboxes', `domain = $1 and state = 'active'`, domain), 2)
  }
})

test('deletions, restores, edits and passwords of the same mailboxes never wait for each other for ever', async () => {
  const domain = await newDomain({ mailbox_limit: 100 })
  const addresses = [await newMailbox(domain), await newMailbox(domain), await newMailbox(domain)]
  for (let round = 0; round < 12; round++) {
    const replies = await race(16, (client, i) => {
      const address = addresses[i % 3]!
      const path = mailboxPath(address)
      const actions = [
        () => client.delete(`${path}?account=delete`),
        () => restore(client, path),
        () => client.delete(path),
        () => restore(client, domainPath(domain)),
        () => client.put(path, { create_account: false, quota_bytes: i, account: { external_id: `${i}` } }),
        () => client.delete(removal(domain, 3 - (i % 2), round % 2 ? '&accounts=delete' : '')),
        () => client.put(`/v1/accounts/${nameOf(address)}/password`, { generate_password: true }),
        () => restore(client, path),
      ]
      return actions[(i + round) % actions.length]!()
    })
    assertOutcomes(
      replies,
      ...['200', '204', '404 mailbox-not-found', '404 account-not-found', '404 domain-not-found'],
      ...['409 mailbox-deleted', '409 count-mismatch', '409 domain-deleted', '422 unknown-domain'],
    )
    await assertInvariants(admin)
    await restore(here, domainPath(domain))
    for (const address of addresses) assertOutcomes([await restore(there, mailboxPath(address))], '200')
  }
})

test('a password and the deletion that takes its account along both want to end the sessions, in one order', async () => {
  const address = await newMailbox(await newDomain())
  const replies = await holding('accounts', nameOf(address), async () => {
    const password = here.put(`/v1/accounts/${nameOf(address)}/password`, { generate_password: true })
    await untilWaiting(1)
    const deletion = there.delete(`${mailboxPath(address)}?account=delete`)
    await untilWaiting(2)
    return [password, deletion]
  })
  assert.deepEqual(replies.map(outcome), ['200', '204'])
})
