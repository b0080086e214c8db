import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { outcome } from '../support/client.ts'
import { openSession } from '../support/live-sessions.ts'
import { curlLogin, mpopFetch, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailSystem } from '../support/mail-servers.ts'

const password = 'MYSECRETPASSWORD'
const outsider = 'someone@elsewhere.example'
const patienceMs = 60_000

const { service, servers } = await startMailSystem()
const admin = await service.as()
let id = ''

async function deliver(to: string, subject: string): Promise<string> {
  const answer = await send(servers, { from: outsider, to, subject })
  if (answer !== '250') return answer
  const arrived = async () =>
    (await readMaildir(servers, id)).some((mail) => mail.includes(`Subject: ${subject}\n`))
  await eventually(arrived, `${subject} for ${to}`)
  return 'arrived'
}

const clearLogin = (user: string) => curlLogin(servers, 'imap', { user, password, mechanism: 'PLAIN' })

/** What POP3 has in the mailbox, by the bare name. */
const bareLogin = (user: string) => mpopFetch(servers, { user, password, mechanism: 'SCRAM-SHA-256' })

async function move(from: string, to: string, more: object = {}): Promise<void> {
  assert.equal(outcome(await admin.post(`/v1/domains/${from}/move`, { to, ...more })), '200')
}

describe('a moved domain', { skip: cannotServeMail }, () => {
  before(async () => {
    for (const name of ['old.jp', 'new.jp', 'last.jp']) await admin.post('/v1/domains', { name })
    id = (await admin.post('/v1/mailboxes', { address: 'anna@old.jp', password })).body.id
  })

  test('has its open sessions ended, both new logins work, and the old full address is refused', async (t) => {
    assert.equal(await deliver('anna@old.jp', 'before'), 'arrived')
    const session = await openSession(servers, 'imap', { user: 'anna@old.jp', password })
    t.after(() => session.close())
    assert.equal(await session.isAlive(), true)
    await move('old.jp', 'new.jp')
    const end = await Promise.race([session.ended, sleep(patienceMs, undefined, { ref: false })])
    assert.ok(end, 'the session goes on')
    assert.deepEqual([await clearLogin('anna@new.jp'), await clearLogin('anna@old.jp')], ['ok', 'refused'])
    assert.match((await bareLogin('anna')) ?? '', /^Subject: before$/m)
  })

  test('gets the mail of the old and the new addresses into the same mailbox', async () => {
    assert.equal(await deliver('anna@new.jp', 'to the new one'), 'arrived')
    assert.equal(await deliver('anna+detail@old.jp', 'to the old one'), 'arrived')
    assert.match(await deliver('nobody@old.jp', 'to nobody'), /^550 5\.1\.1 /)
    assert.equal((await readMaildir(servers, id)).length, 3)
    const login = { user: 'anna@new.jp', password, mechanism: 'PLAIN' }
    for (const from of ['anna@new.jp', 'anna@old.jp'])
      assert.equal(await send(servers, { from, to: 'anna@new.jp', ...login }), '250')
  })

  test('gets nothing under an address that was given up', async () => {
    await move('new.jp', 'last.jp', { keep_old_as_alias: false })
    assert.match(await deliver('anna@new.jp', 'too late'), /^550 5\.1\.1 /)
    assert.equal(await deliver('anna@last.jp', 'to the last one'), 'arrived')
    assert.equal(await deliver('anna@old.jp', 'by the alias domain'), 'arrived')
    assert.deepEqual([await clearLogin('anna@last.jp'), await clearLogin('anna@new.jp')], ['ok', 'refused'])
    assert.match((await bareLogin('anna')) ?? '', /^Subject: before$/m)
  })
})
