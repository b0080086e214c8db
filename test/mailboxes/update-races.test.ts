import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { outcome, type Reply } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startRaces } from '../support/races.ts'

// An edit at the same moment as something else: an answer of 200 shows the mailbox as the edit wants it.

const { service, here, there, newDomain, newMailbox, holding, untilWaiting } = await startRaces()
const { admin } = service

afterEach(() => assertInvariants(admin))

const shut = { locked: true, delivery: 'refuse' }
const edits: object[] = [{ locked: true }, shut, { ...shut, keep_copy: true }]
for (const edit of edits) {
  test(`what is undone at the same moment is done again: ${JSON.stringify(edit)}`, async () => {
    const address = await newMailbox(await newDomain())
    await here.patch(`/v1/mailboxes/${address}`, shut)
    const other = await admin.connect()
    let reply: Promise<Reply>
    try {
      await other.query('begin')
      const open = `locked = false, delivery = 'accept', version = gen_random_uuid()`
      await other.query(`update app.mailboxes set ${open} where name = split_part($1, '@', 1)`, [address])
      reply = here.patch(`/v1/mailboxes/${address}`, edit)
      await untilWaiting(1)
      await other.query('commit')
    } finally {
      other.release()
    }
    assert.equal(outcome(await reply), '200')
    const { body } = await there.get(`/v1/mailboxes/${address}`)
    for (const [member, value] of Object.entries(edit)) assert.equal(body[member], value, member)
    const events = await here.get(`/v1/audit-events?object=${address}&action=mailbox.update&limit=1`)
    assert.deepEqual(events.body.items[0].before.locked, false)
    assert.deepEqual(events.body.items[0].after.locked, true)
  })
}

test('an edit by id is not lost in a rename', async () => {
  const domain = await newDomain()
  const address = await newMailbox(domain)
  const { id } = (await here.get(`/v1/mailboxes/${address}`)).body
  const [renamed, edited] = await holding('accounts', address.split('@')[0]!, async () => {
    const renaming = here.post(`/v1/mailboxes/${address}/rename`, { address: `renamed.${address}` })
    await untilWaiting(1)
    const editing = there.patch(`/v1/mailboxes/${id}`, { locked: true })
    await untilWaiting(2)
    return [renaming, editing]
  })
  assert.deepEqual([outcome(renamed!), outcome(edited!)], ['200', '200'])
  assert.equal(edited!.body.locked, true)
  assert.equal((await here.get(`/v1/mailboxes/renamed.${address}`)).body.locked, true)
})
