import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { curlLogin, mpopFetch, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'
const outsider = 'someone@elsewhere.example'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)
let id = ''

async function deliver(to: string, subject: string): Promise<string> {
  const answer = await send(servers, { from: outsider, to, subject })
  if (answer !== '250') return answer
  const arrived = async () =>
    (await readMaildir(servers, id)).some((mail) => mail.includes(`Subject: ${subject}\n`))
  await eventually(arrived, `${subject} for ${to}`)
  return 'arrived'
}

/** The clear-text login, the secure one, and sending as the address. */
async function tryLogins(address: string): Promise<string[]> {
  const clear = { user: address, password, mechanism: 'PLAIN' }
  const secure = { user: address.split('@')[0]!, password, mechanism: 'SCRAM-SHA-256' }
  const imap = await curlLogin(servers, 'imap', clear)
  const pop3 = await mpopFetch(servers, secure)
  const sent = await send(servers, { from: address, to: 'sink@a.jp', ...clear })
  return [imap, pop3 === undefined ? 'refused' : 'ok', sent.slice(0, 3)]
}

async function rename(from: string, address: string): Promise<void> {
  assert.equal(outcome(await admin.post(`/v1/mailboxes/${from}/rename`, { address })), '200')
}

describe('a renamed mailbox', { skip: cannotServeMail }, () => {
  before(async () => {
    for (const name of ['a.jp', 'b.jp']) await admin.post('/v1/domains', { name })
    await admin.post('/v1/mailboxes', { address: 'sink@a.jp', password })
    id = (await admin.post('/v1/mailboxes', { address: 'anna.mori@a.jp', password })).body.id
  })

  test('logs in under its new name, gets the mail of both, and has what it had', async () => {
    assert.equal(await deliver('anna.mori@a.jp', 'before'), 'arrived')
    assert.deepEqual(await tryLogins('anna.mori@a.jp'), ['ok', 'ok', '250'])
    await rename('anna.mori@a.jp', 'anna.sato@a.jp')
    assert.deepEqual(await tryLogins('anna.mori@a.jp'), ['refused', 'refused', '535'])
    assert.deepEqual(await tryLogins('anna.sato@a.jp'), ['ok', 'ok', '250'])
    assert.equal(await deliver('anna.sato@a.jp', 'to the new one'), 'arrived')
    assert.equal(await deliver('anna.mori+detail@a.jp', 'to the old one'), 'arrived')
    assert.equal((await readMaildir(servers, id)).length, 3)
  })

  test('keeps its bare login in another domain', async () => {
    await rename('anna.sato@a.jp', 'anna.sato@b.jp')
    assert.deepEqual(await tryLogins('anna.sato@b.jp'), ['ok', 'ok', '250'])
    const old = { user: 'anna.sato@a.jp', password, mechanism: 'PLAIN' }
    assert.equal(await curlLogin(servers, 'imap', old), 'refused')
    assert.equal(await deliver('anna.mori@a.jp', 'over the first alias'), 'arrived')
    assert.equal(await deliver('anna.sato@a.jp', 'over the second'), 'arrived')
  })

  test('gets no more mail of an old address whose alias is deleted, nor does who has it next', async () => {
    assert.equal(outcome(await admin.delete('/v1/aliases/anna.mori@a.jp')), '204')
    assert.match(await deliver('anna.mori@a.jp', 'too late'), /^550 5\.1\.1 /)
    const next = await admin.post('/v1/mailboxes', { address: 'anna.mori@a.jp', password })
    assert.deepEqual(await readMaildir(servers, next.body.id), [])
    assert.deepEqual(await tryLogins('anna.mori@a.jp'), ['ok', 'ok', '250'])
    assert.equal((await readMaildir(servers, id)).length, 5)
  })
})
