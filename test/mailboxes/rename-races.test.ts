import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { assertOutcomes, link, startRaces } from '../support/races.ts'

// A rename at the same moment as something else; deadlocks would be answered with 503.

const { service, here, there, race, newDomain, newName, newAccounts, newMailbox, count, ...locks } =
  await startRaces()
const { admin } = service
const { holding, untilWaiting } = locks

afterEach(() => assertInvariants(admin))

const rename = (client: Client, from: string, address: string, more: object = {}) =>
  client.post(`/v1/mailboxes/${from}/rename`, { address, ...more })
const won = (replies: Reply[]) => replies.filter(({ status }) => status < 300).length

test('of renames and creates of one name in two domains one gets it', async () => {
  const [one, two] = [await newDomain(), await newDomain()]
  for (let round = 0; round < 15; round++) {
    const wanted = newName()
    const mailboxes = [await newMailbox(one), await newMailbox(two), await newMailbox(one)]
    const replies = await race(6, (client, i) => {
      const address = `${wanted}@${i % 4 < 2 ? one : two}`
      if (i < 3) return rename(client, mailboxes[i]!, address, { keep_old_as_alias: i !== 1 })
      return client.post('/v1/mailboxes', { address, no_password: true })
    })
    assertOutcomes(replies, '200', '201', '409 name-taken', '409 mailbox-exists')
    assert.equal(won(replies), 1)
    assert.equal(await count('mailboxes', 'name = $1', wanted), 1)
  }
})

test('thirty in a ring, over and over, lose no mailbox', async () => {
  const domain = await newDomain()
  const other = await newDomain()
  const ring: string[] = []
  for (let i = 0; i < 30; i++) ring.push(await newMailbox(domain))
  const { rows } = await admin.query<{ id: string }>('select id from app.mailboxes where domain = $1', [
    domain,
  ])
  // all of them wait for the same two domains, and none may wait longer than ten seconds
  const replies = await race(60, (client, i) => {
    const from = ring[i % 30]!
    return i < 30
      ? rename(client, from, ring[(i + 1) % 30]!)
      : rename(client, from, from.replace(domain, other))
  })
  assertOutcomes(
    replies,
    '200',
    '409 mailbox-exists',
    '409 name-taken',
    '409 alias-exists',
    '404 mailbox-not-found',
  )
  assert.ok(won(replies) > 0)
  const ids = rows.map(({ id }) => id)
  assert.equal(await count('mailboxes', `id = any($1) and state = 'active'`, ids), 30)
})

test('a deletion, a purge and a restore beside it leave one whole mailbox or none', async () => {
  const [one, two] = [await newDomain(), await newDomain()]
  for (let round = 0; round < 15; round++) {
    const address = await newMailbox(one)
    const to = `${newName()}@${two}`
    const path = `/v1/mailboxes/${address}`
    const replies = await Promise.all([
      rename(here, address, to),
      there.delete(round % 2 ? path : `${path}?purge=true`),
      here.post(`${path}/restore`),
      rename(there, address, `${newName()}@${one}`),
    ])
    assertOutcomes(replies, '200', '204', '404 mailbox-not-found')
    assert.ok(won(replies) > 0)
  }
})

test('a password that is set meanwhile is the one that the mailbox has afterwards, or is refused', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 6; round++) {
    const address = await newMailbox(domain)
    const name = address.split('@')[0]!
    const to = newName()
    const password = () => there.put(`/v1/accounts/${name}/password`, { generate_password: true })
    const moved = () => rename(here, address, `${to}@${domain}`)
    const [first, second] = round % 2 ? [password, moved] : [moved, password]
    const replies = await holding('accounts', name, async () => {
      const sent = [first()]
      await untilWaiting(1)
      sent.push(second())
      await untilWaiting(2)
      return sent
    })
    assertOutcomes(replies, '200', '404 account-not-found')
    const { rows } = await admin.query(
      `select password_set_at is not null as is_set, exists (select from app.verifiers as v where v.name = $1) as has
       from app.accounts where name = $1`,
      [to],
    )
    const isSet = round % 2 === 1
    assert.deepEqual(rows, [{ is_set: isSet, has: isSet }], replies.map(outcome).join())
  }
})

test('a change of the account that was first is not lost', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 4; round++) {
    const address = await newMailbox(domain)
    const name = address.split('@')[0]!
    const to = newName()
    const replies = await holding('accounts', name, async () => {
      const patched = there.patch(`/v1/accounts/${name}`, { disabled: true })
      await untilWaiting(1)
      const moved = rename(here, address, `${to}@${domain}`)
      await untilWaiting(2)
      return [patched, moved]
    })
    assert.deepEqual(replies.map(outcome), ['200', '200'])
    assert.equal(await count('accounts', 'name = $1 and disabled', to), 1)
  }
})

test('the deletion of a domain that has what names the mailbox does not meet it in a deadlock', async () => {
  const own = await newDomain()
  for (let round = 0; round < 10; round++) {
    const far = await newDomain()
    const address = await newMailbox(own)
    const friends = [await newMailbox(far), await newMailbox(far), await newMailbox(far)]
    for (const friend of friends) await here.patch(`/v1/mailboxes/${friend}`, { forward_to: [address] })
    for (let i = 0; i < 3; i++)
      await here.post('/v1/aliases', { address: `${newName()}@${far}`, targets: [address] })
    await here.patch(`/v1/domains/${far}`, { postmaster_address: address })
    await here.patch('/v1/server', { postmaster_address: address })
    const replies = await Promise.all([
      rename(here, address, `${newName()}@${own}`),
      there.delete(`/v1/domains/${far}?mailboxes=delete&expect=3&purge=true`),
      here.patch('/v1/server', { mail_server: `mx${round}.example` }),
      there.delete(`/v1/mailboxes/${friends[0]}`),
    ])
    assertOutcomes(replies, '200', '204', '404 mailbox-not-found', '409 count-mismatch')
    assert.deepEqual([replies[0]!.status, replies[2]!.status], [200, 200])
  }
  await here.patch('/v1/server', { postmaster_address: null })
})

test('creates of linked accounts beside renames to their names find them taken or not', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 10; round++) {
    const [name] = await newAccounts(1)
    const address = await newMailbox(domain)
    const replies = await Promise.all([
      link(here, `${name}@${domain}`),
      rename(there, address, `${name}@${domain}`),
    ])
    assertOutcomes(replies, '201', '409 account-exists', '409 mailbox-exists', '409 name-taken')
  }
})
