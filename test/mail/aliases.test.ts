import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { curlLogin, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const outsider = 'someone@elsewhere.example'
const ids = new Map<string, string>()

async function arrives(address: string, subject: string): Promise<boolean> {
  const found = async () =>
    (await readMaildir(servers, ids.get(address)!)).some((mail) => mail.includes(`Subject: ${subject}`))
  return eventually(found, `${subject} for ${address}`)
}

/** Postfix's smtp client tries to send to this address, which is what "outside" means. */
function leavesFor(address: string): Promise<boolean> {
  const line = new RegExp(`postfix/smtp\\[\\d+\\]: \\w+: to=<${address.replace(/[.+]/g, '\\$&')}>`)
  return eventually(() => line.test(servers.logs()), `an attempt to send to ${address}`)
}

async function create(path: string, body: object): Promise<void> {
  assert.equal(outcome(await admin.post(`/v1/${path}`, body)), '201')
}

const from = (user: string, sender: string, to = 'u2@a.jp', subject = 'submitted') =>
  send(servers, { from: sender, to, subject, user, password })

describe('aliases', { skip: cannotServeMail }, () => {
  before(async () => {
    for (const name of ['a.jp', 'b.jp']) await create('domains', { name })
    for (const address of ['u1@a.jp', 'u2@a.jp', 'u3@b.jp']) {
      const { body } = await admin.post('/v1/mailboxes', { address, password })
      ids.set(address, body.id)
    }
    await create('aliases', { address: 'sub@b.jp', targets: ['u3@b.jp', 'u1@a.jp'] })
    await create('aliases', {
      address: 'team@a.jp',
      targets: ['u1@a.jp', 'sub@b.jp', 'desk@partner.example'],
      send_as: true,
    })
  })

  test('an alias is delivered to mailboxes and outside, once each', async () => {
    assert.equal(await send(servers, { from: outsider, to: 'Team+x@a.jp', subject: 'for all' }), '250')
    for (const address of ['u1@a.jp', 'u3@b.jp']) assert.ok(await arrives(address, 'for all'))
    assert.ok(await leavesFor('desk@partner.example'))
    assert.equal((await readMaildir(servers, ids.get('u1@a.jp')!)).length, 1)
  })

  test('a target that is gone is left out, and with none left the mail is refused', async () => {
    const { body } = await admin.post('/v1/mailboxes', { address: 'brief@a.jp', password })
    ids.set('brief@a.jp', body.id)
    await create('aliases', { address: 'both@a.jp', targets: ['brief@a.jp', 'u2@a.jp'] })
    await create('aliases', { address: 'one@a.jp', targets: ['brief@a.jp'] })
    await admin.delete('/v1/mailboxes/brief@a.jp')
    assert.equal(await send(servers, { from: outsider, to: 'both@a.jp', subject: 'the rest' }), '250')
    assert.ok(await arrives('u2@a.jp', 'the rest'))
    assert.match(await send(servers, { from: outsider, to: 'one@a.jp' }), /^550 5\.1\.1 /)
    await admin.post('/v1/mailboxes/brief@a.jp/restore')
    assert.equal(await send(servers, { from: outsider, to: 'one@a.jp', subject: 'back' }), '250')
    assert.ok(await arrives('brief@a.jp', 'back'))
  })

  test('a catch-all gets what is no address, and not what is one', async () => {
    assert.match(await send(servers, { from: outsider, to: 'whoever@b.jp' }), /^550 5\.1\.1 /)
    await create('aliases', { address: '@b.jp', targets: ['u2@a.jp'], allow_role_name: true })
    for (const to of ['whoever+x@b.jp', 'a=b@b.jp', '"odd one"@b.jp']) {
      assert.equal(await send(servers, { from: outsider, to, subject: `caught ${to}` }), '250', to)
      assert.ok(await arrives('u2@a.jp', `caught ${to}`))
    }
    assert.equal(await send(servers, { from: outsider, to: 'u3@b.jp', subject: 'not caught' }), '250')
    assert.ok(await arrives('u3@b.jp', 'not caught'))
    await admin.delete('/v1/mailboxes/u3@b.jp')
    assert.match(await send(servers, { from: outsider, to: 'u3@b.jp' }), /^550 5\.1\.1 /)
    await admin.post('/v1/mailboxes/u3@b.jp/restore')
    assert.match(await from('u2@a.jp', 'whoever@b.jp'), /^553 5\.7\.1 /, 'nobody sends as it')
  })

  test('its targets send as an alias where it says so', async () => {
    assert.equal(await from('u1@a.jp', 'team@a.jp'), '250')
    assert.match(await from('u2@a.jp', 'team@a.jp'), /^553 5\.7\.1 /, 'no target')
    assert.match(await from('u3@b.jp', 'sub@b.jp'), /^553 5\.7\.1 /, 'without send_as')
    await admin.patch('/v1/aliases/team@a.jp', { send_as: false })
    assert.match(await from('u1@a.jp', 'team@a.jp'), /^553 5\.7\.1 /)
  })

  test('an alias domain has the addresses of the other, which also send as it', async () => {
    await create('domains', { name: 'brand.jp', alias_of: 'a.jp' })
    assert.equal(
      await send(servers, { from: outsider, to: 'U1+shop@brand.jp', subject: 'for a brand' }),
      '250',
    )
    assert.ok(await arrives('u1@a.jp', 'for a brand'))
    assert.match(await send(servers, { from: outsider, to: 'nobody@brand.jp' }), /^550 5\.1\.1 /)
    assert.equal(await from('u1@a.jp', 'u1@brand.jp', 'u2@brand.jp', 'by a brand'), '250')
    assert.ok(await arrives('u2@a.jp', 'by a brand'))
    assert.match(await from('u1@a.jp', 'u2@brand.jp'), /^553 5\.7\.1 /)
    const login = { user: 'u1@brand.jp', password, mechanism: 'PLAIN' }
    assert.notEqual(await curlLogin(servers, 'imap', login), 'ok')
  })

  test('a domain is filled while its mail goes elsewhere, and cut over within a second', async () => {
    await create('domains', { name: 'fill.jp', accepts_mail: false })
    const { body } = await admin.post('/v1/mailboxes', { address: 'u4@fill.jp', password })
    ids.set('u4@fill.jp', body.id)
    const login = { user: 'u4@fill.jp', password, mechanism: 'PLAIN' }
    assert.equal(await curlLogin(servers, 'imap', login), 'ok')
    const inbound = (subject: string) => send(servers, { from: outsider, to: 'u4@fill.jp', subject })
    assert.match(await inbound('early'), /^554 5\.7\.1 .*Relay access denied/)
    assert.equal(await from('u1@a.jp', 'u1@a.jp', 'u4@fill.jp', 'early, from here'), '250')
    assert.ok(await leavesFor('u4@fill.jp'))
    assert.equal(await from('u4@fill.jp', 'u4@fill.jp', 'u2@a.jp', 'from there'), '250')
    assert.ok(await arrives('u2@a.jp', 'from there'))
    assert.equal(outcome(await admin.patch('/v1/domains/fill.jp', { accepts_mail: true })), '200')
    const flipped = Date.now()
    assert.equal(await inbound('on time'), '250')
    assert.ok(Date.now() - flipped < 5_000, 'at the first try')
    assert.ok(await arrives('u4@fill.jp', 'on time'))
    assert.equal(await from('u1@a.jp', 'u1@a.jp', 'u4@fill.jp', 'from here'), '250')
    assert.ok(await arrives('u4@fill.jp', 'from here'))
    await admin.patch('/v1/domains/fill.jp', { accepts_mail: false })
    assert.match(await inbound('too late'), /^554 5\.7\.1 .*Relay access denied/)
  })
})
