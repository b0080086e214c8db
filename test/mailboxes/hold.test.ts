import assert from 'node:assert/strict'
import { afterEach, before, describe, test } from 'node:test'
import { purgeExpired } from '../../src/jobs/expired.ts'
import { type Client, outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { assertOutcomes, link, startRaces } from '../support/races.ts'

const { service, here, race, newDomain, newMailbox, holding, untilWaiting, count } = await startRaces()
const admin = here

let domain: string
before(async () => {
  domain = await newDomain()
})
afterEach(() => assertInvariants(service.admin))

const hold = (path: string, on = true, client: Client = admin) => client.patch(path, { hold: on })

async function heldMailbox(at = domain) {
  const address = await newMailbox(at)
  const path = `/v1/mailboxes/${address}`
  const held = await hold(path)
  assert.equal(outcome(held), '200')
  assert.equal(held.body.hold, true)
  return { address, path, name: address.split('@')[0]!, id: held.body.id }
}

/** `active`, `deleted`, or nothing where it is purged. */
async function stateOf(id: string): Promise<string | undefined> {
  const { rows } = await service.admin.query('select state from app.mailboxes where id = $1', [id])
  return rows[0]?.state
}

const expire = (id: string) =>
  service.admin.query(`update app.mailboxes set purge_at = now() - interval '1 second' where id = $1`, [id])

test('no purge takes a mailbox on hold, live or deleted, by its address or its id', async () => {
  const { address, path, id } = await heldMailbox()
  for (const target of [path, `/v1/mailboxes/${id}`]) {
    const refused = await admin.delete(`${target}?purge=true&account=delete`)
    assert.equal(outcome(refused), '409 on-hold')
    assert.equal(await stateOf(id), 'active')
  }
  assert.equal(outcome(await admin.delete(path)), '204', 'a deletion that can be undone is none')
  assert.equal(outcome(await admin.delete(`${path}?purge=true`)), '409 on-hold')
  assert.equal(await stateOf(id), 'deleted')
  const stale = { headers: { 'if-match': '"00000000-0000-4000-8000-000000000000"' } }
  assert.equal(outcome(await admin.delete(`${path}?purge=true`, stale)), '412 precondition-failed')
  assert.equal(outcome(await admin.post(`${path}/restore`)), '200')
  assert.equal((await admin.get(path)).body.hold, true)
  assert.equal((await admin.get(path)).body.address, address)
})

test('the clock does not purge it, and does as soon as the hold is lifted', async () => {
  const { path, id } = await heldMailbox()
  await admin.delete(path)
  await expire(id)
  await purgeExpired(service.db)
  assert.equal(await stateOf(id), 'deleted')
  assert.equal(outcome(await hold(path, false)), '200')
  await purgeExpired(service.db)
  assert.equal(await stateOf(id), undefined)
})

test('a hold by itself reaches a deleted mailbox, and nothing else does', async () => {
  const address = await newMailbox(domain)
  const path = `/v1/mailboxes/${address}`
  const { id } = (await admin.get(path)).body
  await admin.delete(path)
  assert.equal(outcome(await admin.patch(path, { hold: true, locked: true })), '404 mailbox-not-found')
  const held = await hold(path)
  assert.equal(outcome(held), '200')
  assert.deepEqual([held.body.state, held.body.hold], ['deleted', true])
  assert.equal((await hold(path)).etag, held.etag, 'the same again changes nothing')
  assert.equal(outcome(await admin.delete(`${path}?purge=true`)), '409 on-hold')
  assert.equal(await stateOf(id), 'deleted')
  assert.equal(outcome(await admin.get(path)), '404 mailbox-not-found')
})

describe('a domain with a mailbox on hold is deleted in no way, and nothing is half-done', () => {
  const ways: [way: string, query: string][] = [
    ['to be restored', ''],
    ['with the accounts', '&accounts=delete'],
    ['for good', '&purge=true'],
  ]
  for (const state of ['active', 'deleted'])
    for (const [way, query] of ways)
      test(`${way}, with one that is ${state}`, async () => {
        const at = await newDomain()
        const other = await newMailbox(at)
        const { path, id, address } = await heldMailbox(at)
        if (state === 'deleted') await admin.delete(path)
        const active = state === 'deleted' ? 1 : 2
        const before = await admin.get(`/v1/domains/${at}`)
        const refused = await admin.delete(`/v1/domains/${at}?mailboxes=delete&expect=${active}${query}`)
        assert.equal(outcome(refused), '409 on-hold')
        assert.deepEqual(refused.body.conflict, { kind: 'mailbox', address })
        const after = await admin.get(`/v1/domains/${at}`)
        assert.deepEqual([after.body, after.etag], [before.body, before.etag])
        assert.equal((await admin.get(`/v1/mailboxes/${other}`)).status, 200)
        assert.equal(await stateOf(id), state)
        await hold(path, false)
        const deleted = await admin.delete(`/v1/domains/${at}?mailboxes=delete&expect=${active}${query}`)
        assert.equal(outcome(deleted), '204')
      })

  test('for good, where the domain is deleted already and the hold came after', async () => {
    const at = await newDomain()
    const address = await newMailbox(at)
    const { id } = (await admin.get(`/v1/mailboxes/${address}`)).body
    await admin.delete(`/v1/domains/${at}?mailboxes=delete&expect=1`)
    assert.equal(outcome(await hold(`/v1/mailboxes/${address}`)), '200')
    await expire(id)
    await purgeExpired(service.db)
    assert.equal(
      outcome(await admin.delete(`/v1/domains/${at}?mailboxes=delete&expect=0&purge=true`)),
      '409 on-hold',
    )
    assert.equal(await stateOf(id), 'deleted')
    assert.equal(outcome(await admin.post(`/v1/domains/${at}/restore`)), '200')
    assert.equal((await admin.get(`/v1/mailboxes/${address}`)).body.hold, true)
  })
})

test('to set it takes mailboxes:write, to lift it mailboxes:purge besides', async () => {
  const { path, id } = await heldMailbox()
  const writer = await service.as({ scopes: ['mailboxes:write'] })
  for (const answer of [
    await hold(path, false, writer),
    await hold('/v1/mailboxes/nobody@nowhere.example', false, writer),
    await writer.put(path, { hold: false }),
  ])
    assert.equal(outcome(answer), '403 insufficient-scope')
  assert.equal((await admin.get(path)).body.hold, true)
  const purger = await service.as({ scopes: ['mailboxes:write', 'mailboxes:purge'] })
  assert.equal((await purger.put(path, { hold: false })).body.hold, false)
  assert.equal(outcome(await hold(path, true, writer)), '200')
  assert.equal(await stateOf(id), 'active')
  const made = await writer.post('/v1/mailboxes', {
    address: `born@${domain}`,
    generate_password: true,
    hold: false,
  })
  assert.equal(made.body.hold, false, 'there is none to lift where the mailbox is made')
})

test('lists show those on hold', async () => {
  const at = await newDomain()
  const { address } = await heldMailbox(at)
  const { path } = await heldMailbox(at)
  await admin.delete(path)
  const free = await newMailbox(at)
  const listed = async (query: string) =>
    (await admin.get(`/v1/mailboxes?domain=${at}&${query}`)).body.items.map(
      (item: { address: string }) => item.address,
    )
  assert.deepEqual(await listed('hold=true'), [address])
  assert.deepEqual(await listed('hold=false'), [free])
  assert.deepEqual(await listed('hold=true&state=deleted'), [path.split('/').pop()])
})

describe('a hold that meets a purge: exactly one of them wins', () => {
  const meet = (target: string, purge: (client: Client) => ReturnType<Client['delete']>) =>
    race(2, (client, i) => (i === 0 ? hold(target, true, client) : purge(client)))

  test('of the mailbox', async () => {
    for (let i = 0; i < 20; i++) {
      const address = await newMailbox(domain)
      const path = `/v1/mailboxes/${address}`
      const { id } = (await admin.get(path)).body
      const answers = await meet(path, (client) => client.delete(`${path}?purge=true`))
      const [held, purged] = answers.map(outcome)
      if (held === '200') assert.deepEqual([purged, await stateOf(id)], ['409 on-hold', 'active'])
      else assert.deepEqual([held, purged, await stateOf(id)], ['404 mailbox-not-found', '204', undefined])
    }
  })

  for (const first of ['hold', 'purge'])
    test(`of the mailbox, both waiting for its row, the ${first} first`, async () => {
      const address = await newMailbox(domain)
      const path = `/v1/mailboxes/${address}`
      const { id } = (await admin.get(path)).body
      const sends = { hold: () => hold(path), purge: () => admin.delete(`${path}?purge=true`) }
      const order = first === 'hold' ? [sends.hold, sends.purge] : [sends.purge, sends.hold]
      const answers = await holding('mailboxes', address.split('@')[0]!, async () => {
        const sent = []
        for (const send of order) {
          sent.push(send())
          await untilWaiting(sent.length)
        }
        return sent
      })
      const said = answers.map(outcome)
      if (first === 'hold') assert.deepEqual(said, ['200', '409 on-hold'])
      else assert.deepEqual(said, ['204', '404 mailbox-not-found'])
      assert.equal(await stateOf(id), first === 'hold' ? 'active' : undefined)
    })

  for (const purge of ['', '&purge=true'])
    test(`of its domain, by ?mailboxes=delete${purge}, both waiting for the row`, async () => {
      const at = await newDomain()
      const address = await newMailbox(at)
      const path = `/v1/mailboxes/${address}`
      const { id } = (await admin.get(path)).body
      const answers = await holding('mailboxes', address.split('@')[0]!, async () => {
        const sent = [hold(path)]
        await untilWaiting(1)
        sent.push(admin.delete(`/v1/domains/${at}?mailboxes=delete&expect=1${purge}`))
        await untilWaiting(2)
        return sent
      })
      assert.deepEqual(answers.map(outcome), ['200', '409 on-hold'])
      assert.equal(await stateOf(id), 'active')
      assert.equal(await count('domains', `name = $1 and state = 'active'`, at), 1)
    })

  test('of its domain, however they meet', async () => {
    for (let i = 0; i < 20; i++) {
      const at = await newDomain()
      const address = await newMailbox(at)
      const path = `/v1/mailboxes/${address}`
      const { id } = (await admin.get(path)).body
      const answers = await meet(path, (client) =>
        client.delete(`/v1/domains/${at}?mailboxes=delete&expect=1&purge=true`),
      )
      assertOutcomes(answers, '200', '204', '409 on-hold', '404 mailbox-not-found')
      const [held] = answers.map(outcome)
      assert.equal(await stateOf(id), held === '200' ? 'active' : undefined)
    }
  })

  test('of the clock', async () => {
    for (let i = 0; i < 10; i++) {
      const address = await newMailbox(domain)
      const path = `/v1/mailboxes/${address}`
      const { id } = (await admin.get(path)).body
      await admin.delete(path)
      await expire(id)
      const [held] = await Promise.all([hold(path), purgeExpired(service.db)])
      assert.equal(await stateOf(id), outcome(held) === '200' ? 'deleted' : undefined)
    }
  })
})

test('a name that is free again has no hold', async () => {
  const { address, path } = await heldMailbox()
  await hold(path, false)
  await admin.delete(`${path}?purge=true`)
  const anew = await link(admin, address)
  assert.equal(anew.body.hold, false)
})
