import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { assertInvariants } from './support/invariants.ts'
import { assertOutcomes, startRaces } from './support/races.ts'

const { service, race, newName, newDomain, newMailbox, holding, untilWaiting } = await startRaces()
const { admin } = service

afterEach(() => assertInvariants(admin))

const candidates = (count: number) => {
  const stem = newName()
  return Array.from({ length: count }, (_, i) => `${stem}.${i}`)
}

/** Which of the names have a mailbox, in their order. */
async function takenOf(names: string[]): Promise<string[]> {
  const { rows } = await admin.query('select name from app.mailboxes where name = any($1)', [names])
  const taken = new Set(rows.map(({ name }) => name))
  return names.filter((name) => taken.has(name))
}

test('200 callers with the same 20 candidates in two domains take all 20, and 180 are told that none is free', async (t) => {
  const domains = [await newDomain(), await newDomain()]
  const names = candidates(20)
  const began = performance.now()
  const replies = await race(200, (client, i) =>
    client.post('/v1/mailboxes', {
      domain: domains[(i >> 1) % 2],
      name_candidates: names,
      generate_password: true,
    }),
  )
  t.diagnostic(`${Math.round(performance.now() - began)} ms`)
  assert.deepEqual(assertOutcomes(replies, '201', '409 name-taken'), { 201: 20, '409 name-taken': 180 })
  const made = replies.flatMap(({ status, body }) => (status === 201 ? [body.name] : []))
  assert.deepEqual(made.toSorted(), names.toSorted())
  assert.deepEqual(await takenOf(names), names)
})

test('200 callers that wait for no password take their names without a gap', async () => {
  const domains = [await newDomain(), await newDomain({ mailbox_limit: 1000 })]
  const names = candidates(20)
  const send = (count: number) =>
    race(count, (client, i) =>
      client.post('/v1/mailboxes', {
        domain: domains[(i >> 1) % 2],
        name_candidates: names,
        no_password: true,
      }),
    )
  assert.deepEqual(assertOutcomes(await send(11), '201'), { 201: 11 })
  assert.deepEqual(await takenOf(names), names.slice(0, 11))
  assert.deepEqual(assertOutcomes(await send(189), '201', '409 name-taken'), {
    201: 9,
    '409 name-taken': 180,
  })
  assert.deepEqual(await takenOf(names), names)
})

test('who wait for the same name at once go on with the next ones', async () => {
  const domain = await newDomain()
  const names = candidates(8)
  const replies = await holding('domains', domain, async () => {
    const sent = Array.from({ length: 8 }, (_, i) =>
      race(1, (client) =>
        client.post(
          '/v1/mailboxes',
          { domain, name_candidates: names, no_password: true },
          { headers: { 'idempotency-key': `${names[i]}` } },
        ),
      ).then(([reply]) => reply!),
    )
    await untilWaiting(8) // all have found the first name free
    return sent
  })
  assert.deepEqual(assertOutcomes(replies, '201'), { 201: 8 })
  assert.deepEqual(await takenOf(names), names)
})

test('a name that is freed meanwhile is taken again, or told to be taken, but never twice', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 5; round++) {
    const address = await newMailbox(domain)
    const names = [address.split('@')[0]!, ...candidates(2)]
    const replies = await race(12, (client, i) =>
      i === 0
        ? client.delete(`/v1/mailboxes/${address}?purge=true&account=delete`)
        : client.post('/v1/mailboxes', { domain, name_candidates: names, no_password: true }),
    )
    const outcomes = assertOutcomes(replies, '201', '204', '409 name-taken')
    assert.ok(outcomes['201'] === 2 || outcomes['201'] === 3, JSON.stringify(outcomes))
    assert.equal((await takenOf(names)).length, outcomes['201'])
  }
})
