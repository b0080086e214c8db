import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { assertInvariants } from './support/invariants.ts'
import { assertOutcomes, link, startRaces } from './support/races.ts'

// What comes to a domain beside its creates, by PUT, by a rename and by a restore, and what all of it may be at most.

const races = await startRaces()
const { service, here, there, race, newName, newDomain, newAccounts, newMailbox, count } = races
const { admin } = service

afterEach(() => assertInvariants(admin))

const inIt = (domain: string) => count('mailboxes', `domain = $1 and state = 'active'`, domain)

async function newMailboxes(size: number, domain: string): Promise<string[]> {
  const addresses: string[] = []
  for (let i = 0; i < size; i++) addresses.push(await newMailbox(domain))
  return addresses
}

test('a limit of five lets five in, however they come', async () => {
  const domain = await newDomain()
  const elsewhere = await newMailboxes(8, await newDomain())
  const deleted = await newMailboxes(8, domain)
  for (const address of deleted) await here.delete(`/v1/mailboxes/${address}`)
  await here.patch(`/v1/domains/${domain}`, { mailbox_limit: 5 })
  const names = await newAccounts(16)
  const replies = await race(32, (client, i) => {
    const nth = (i >> 3) * 2 + (i % 2) // so that each way is gone through both instances
    const way = (i >> 1) % 4
    if (way === 0) return link(client, `${names[nth]}@${domain}`)
    if (way === 1) return client.put(`/v1/mailboxes/${names[8 + nth]}@${domain}`, { create_account: false })
    if (way === 2) return client.post(`/v1/mailboxes/${deleted[nth]}/restore`)
    return client.post(`/v1/mailboxes/${elsewhere[nth]}/rename`, { address: `${newName()}@${domain}` })
  })
  const counts = assertOutcomes(replies, '200', '201', '409 mailbox-limit-reached')
  assert.equal((counts['200'] ?? 0) + (counts['201'] ?? 0), 5)
  assert.equal(await inIt(domain), 5)
})

test('a limit that is set while mailboxes come in by PUT and by rename holds from then on', async () => {
  for (let round = 0; round < 3; round++) {
    const domain = await newDomain()
    const elsewhere = await newMailboxes(10, await newDomain())
    const names = await newAccounts(10)
    const coming = race(20, (client, i) => {
      const nth = (i >> 2) * 2 + (i % 2)
      return i % 4 < 2
        ? client.put(`/v1/mailboxes/${names[nth]}@${domain}`, { create_account: false })
        : client.post(`/v1/mailboxes/${elsewhere[nth]}/rename`, { address: `${newName()}@${domain}` })
    })
    const patched = await there.patch(`/v1/domains/${domain}`, { mailbox_limit: 3 })
    assertOutcomes([...(await coming), patched], '200', '201', '409 mailbox-limit-reached')
    assert.equal(await inIt(domain), Math.max(3, patched.body.mailbox_count))
  }
})

test('a rename within a full domain, and a PUT of what is in it, need no room', async () => {
  const domain = await newDomain()
  const addresses = await newMailboxes(4, domain)
  await here.patch(`/v1/domains/${domain}`, { mailbox_limit: 4 })
  const replies = await race(4, (client, i) =>
    i < 2
      ? client.post(`/v1/mailboxes/${addresses[i]}/rename`, { address: `${newName()}@${domain}` })
      : client.put(`/v1/mailboxes/${addresses[i]}`, { create_account: false, quota_bytes: 5 }),
  )
  assertOutcomes(replies, '200')
  assert.equal(await inIt(domain), 4)
})

test('a default quota that is set while mailboxes are made is that of all of them', async () => {
  for (let round = 0; round < 3; round++) {
    const domain = await newDomain({ default_quota_bytes: 1000 })
    const names = await newAccounts(20)
    const creates = race(20, (client, i) => link(client, `${names[i]}@${domain}`))
    const patched = await there.patch(`/v1/domains/${domain}`, { default_quota_bytes: 2000 })
    assertOutcomes([...(await creates), patched], '200', '201')
    const { body } = await there.get(`/v1/mailboxes?domain=${domain}`)
    assert.equal(body.items.length, 20)
    for (const { quota_bytes, effective_quota_bytes } of body.items)
      assert.deepEqual([quota_bytes, effective_quota_bytes], [null, 2000])
  }
})
