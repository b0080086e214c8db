import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { loginPop3, openSession, type Session, sendAt, tryPop3 } from '../support/mail-sessions.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'
// Dovecot holds a refusal back for up to half a second (auth-request-handler.c), so that fewer do not fill a processor.
const guessers = 48
const idleMs = 2_000
const floodMs = 8_000

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const address = 'user05@flood.jp'
let sent = 0

describe('a flood of wrong clear-text passwords', { skip: cannotServeMail }, () => {
  test('stops neither SCRAM logins nor delivery', async (t) => {
    await admin.post('/v1/domains', { name: 'flood.jp' })
    const { status, body } = await admin.post('/v1/mailboxes', { address, password })
    assert.equal(status, 201)
    const idle = await useMail(idleMs)
    const flood = startFlood()
    const flooded = await useMail(floodMs)
    const refused = await flood.stop()

    assert.ok(refused > guessers, `${refused} wrong passwords are no flood`)
    assert.ok(flooded.scram.length > 0 && flooded.recipients.length > 0)
    await eventually(async () => (await readMaildir(servers, body.id)).length === sent, 'every message')
    t.diagnostic(`${((refused * 1000) / floodMs).toFixed(0)} wrong passwords a second were refused`)
    for (const kind of ['scram', 'recipients'] as const) {
      t.diagnostic(`${kind}: idle ${describeTimes(idle[kind])}, flooded ${describeTimes(flooded[kind])}`)
    }
  })
})

/** SCRAM logins and deliveries, each one after another, for as long as told. All must succeed. */
async function useMail(ms: number) {
  const until = Date.now() + ms
  const scram: number[] = []
  const recipients: number[] = []
  const login = async () => {
    while (Date.now() < until) {
      const began = performance.now()
      const session = await loginPop3(servers, { mechanism: 'SCRAM-SHA-256', user: 'user05', password })
      scram.push(performance.now() - began)
      session.close()
    }
  }
  const deliver = async () => {
    while (Date.now() < until) {
      const began = performance.now()
      const noteRecipient = () => void recipients.push(performance.now() - began)
      assert.match(await sendAt(servers, { to: address, subject: 'meanwhile' }, noteRecipient), /^250 /)
      sent += 1
    }
  }
  await Promise.all([login(), deliver()])
  return { scram, recipients }
}

/** Every guesser tries again as soon as it is refused, and comes back when the server hangs up. */
function startFlood() {
  let stopping = false
  let refused = 0
  const guess = async (session: Session) => {
    const guessed = { mechanism: 'PLAIN', user: address, password: `WRONG${refused}` } as const
    assert.equal(await tryPop3(session, guessed), false)
    refused += 1
  }
  const keepGuessing = async () => {
    while (!stopping) {
      const session = await openSession(servers.ports.pop3s)
      while (!stopping && !session.ended()) await guess(session)
      session.close()
    }
  }
  const running = Promise.all(Array.from({ length: guessers }, keepGuessing))
  return {
    async stop() {
      const result = refused
      stopping = true
      await running
      return result
    },
  }
}

function describeTimes(times: number[]): string {
  const sorted = times.map(Math.round).toSorted((a, b) => a - b)
  return `median ${sorted[Math.floor(sorted.length / 2)]} ms, most ${sorted.at(-1)} ms of ${sorted.length}`
}
