import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Promptness, proveDeliverable } from '../support/deliverable.ts'
import { cannotServeMail, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'
const count = 12
const everyMs = 400

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

describe('a 201', { skip: cannotServeMail }, () => {
  test('means that mail arrives and both logins work, at the first try in the same instant', async (t) => {
    assert.equal((await admin.post('/v1/domains', { name: 'prompt.jp' })).status, 201)
    const running: Promise<Promptness>[] = []
    for (let i = 0; i < count; i += 1) {
      const address = `prompt${i}@prompt.jp`
      const { status } = await admin.post('/v1/mailboxes', { address, password })
      assert.equal(status, 201)
      running.push(proveDeliverable(servers, { address, password }))
      await sleep(everyMs) // a steady rate, whatever is still going on
    }
    const times = await Promise.all(running)
    for (const name of ['recipientMs', 'loginsMs', 'fetchedMs'] as const) {
      const sorted = times.map((one) => Math.round(one[name])).toSorted((a, b) => a - b)
      t.diagnostic(`${name}: median ${sorted[count / 2]}, most ${sorted.at(-1)}`)
    }
  })
})
