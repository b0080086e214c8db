import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { curlFetch, curlLogin, mpopFetch, openDialogue, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const outsider = 'someone@elsewhere.example'

async function createMailbox(address: string): Promise<string> {
  const created = await admin.post('/v1/mailboxes', { address, password })
  assert.equal(created.status, 201)
  return created.body.id
}

/** Sends from elsewhere and waits for the message in the mailbox. */
async function deliver(to: string, id: string, subject: string): Promise<string> {
  assert.equal(await send(servers, { from: outsider, to, subject }), '250')
  const found = async () =>
    (await readMaildir(servers, id)).find((mail) => mail.includes(`Subject: ${subject}`))
  return (await eventually(found, `delivery of ${subject}`)) ?? ''
}

const works = async (name: string, secret = password) => {
  const [clear, secure] = await Promise.all([
    curlLogin(servers, 'imap', { user: `${name}@example.jp`, password: secret, mechanism: 'PLAIN' }),
    mpopFetch(servers, { user: name, password: secret, mechanism: 'SCRAM-SHA-256' }),
  ])
  const submission = await send(servers, {
    from: `${name}@example.jp`,
    to: 'sink@example.jp',
    user: `${name}@example.jp`,
    password: secret,
  })
  return [clear === 'ok', secure !== undefined, submission === '250']
}
const all = [true, true, true]
const none = [false, false, false]

describe('delivery', { skip: cannotServeMail }, () => {
  before(async () => {
    for (const name of ['example.jp', 'other.jp']) await admin.post('/v1/domains', { name })
    await createMailbox('sink@example.jp')
  })

  test('a mailbox is usable in the instant of its 201', async () => {
    for (let i = 0; i < 5; i += 1) {
      const id = await createMailbox(`instant${i}@example.jp`)
      const [mail, logins] = await Promise.all([
        deliver(`instant${i}@example.jp`, id, `at once ${i}`),
        works(`instant${i}`),
      ])
      assert.match(mail, /at once/)
      assert.deepEqual(logins, all)
    }
  })

  test('who was refused before domain and mailbox were made is not refused after', async () => {
    const early = { from: outsider, to: 'early@early.jp' }
    assert.match(await send(servers, early), /^554 5\.7\.1 .*Relay access denied/)
    await admin.post('/v1/domains', { name: 'early.jp' })
    assert.match(await send(servers, early), /^550 5\.1\.1 /)
    const id = await createMailbox('early@early.jp')
    assert.match(await deliver('early@early.jp', id, 'in time'), /Subject/)
  })

  test('mail with a detail reaches the mailbox', async () => {
    const id = await createMailbox('detail@example.jp')
    assert.match(await deliver('Detail+shop@EXAMPLE.jp', id, 'detailed'), /^Delivered-To: .*detail\+?.*@/im)
  })

  test('postmaster and abuse of every domain reach the postmaster, once somebody is', async () => {
    const id = await createMailbox('boss@example.jp')
    assert.match(await send(servers, { from: outsider, to: 'postmaster@other.jp' }), /^550 5\.1\.1 /)
    await admin.patch('/v1/server', { postmaster_address: 'boss@example.jp' })
    for (const address of ['postmaster@other.jp', 'abuse@example.jp', 'Postmaster+x@other.jp'])
      assert.match(await deliver(address, id, `to ${address}`), /Subject/)
    assert.match(await send(servers, { from: outsider, to: 'webmaster@other.jp' }), /^550 5\.1\.1 /)
  })

  test('a locked mailbox refuses logins and gets its mail, which is there after the lock', async () => {
    const id = await createMailbox('locked@example.jp')
    assert.deepEqual(await works('locked'), all)
    for (const [path, lock] of [
      ['/v1/mailboxes/locked@example.jp', 'locked'],
      ['/v1/domains/example.jp', 'locked'],
      ['/v1/accounts/locked', 'disabled'],
    ] as const) {
      assert.equal((await admin.patch(path, { [lock]: true })).status, 200)
      assert.deepEqual(await works('locked'), none, path)
      await deliver('locked@example.jp', id, `during ${path}`)
      assert.equal((await admin.patch(path, { [lock]: false })).status, 200)
      assert.deepEqual(await works('locked'), all, path)
    }
    const fetched = await mpopFetch(servers, { user: 'locked', password, mechanism: 'SCRAM-SHA-256' })
    assert.equal(fetched?.match(/^Subject: during/gm)?.length, 3)
  })

  test('a new password works at once and the old one no longer', async () => {
    await createMailbox('changed@example.jp')
    const other = 'ANOTHERPASSWORD'
    assert.equal((await admin.put('/v1/accounts/changed/password', { password: other })).status, 204)
    assert.deepEqual(await works('changed', other), all)
    assert.deepEqual(await works('changed'), none)
  })

  test('a deleted mailbox refuses logins and mail', async () => {
    const id = await createMailbox('gone@example.jp')
    await deliver('gone@example.jp', id, 'old')
    assert.equal((await admin.delete('/v1/mailboxes/gone@example.jp')).status, 204)
    assert.deepEqual(await works('gone'), none)
    assert.match(await send(servers, { from: outsider, to: 'gone@example.jp' }), /^550 5\.1\.1 /)
  })

  test('a mailbox made anew under an old name does not show the old mail', async () => {
    const id = await createMailbox('again@example.jp')
    await deliver('again@example.jp', id, 'old')
    assert.equal((await admin.delete('/v1/mailboxes/again@example.jp?purge=true&account=delete')).status, 204)
    const other = await createMailbox('again@example.jp')
    assert.notEqual(other, id)
    await deliver('again@example.jp', other, 'new')
    const login = { user: 'again@example.jp', password, mechanism: 'PLAIN' }
    assert.match(await curlFetch(servers, 'pop3', login), /^Subject: new/m)
    assert.equal((await readMaildir(servers, other)).length, 1)
  })

  test('a mailbox without a password receives mail, and nobody can log in until one is set', async () => {
    const made = await admin.post('/v1/mailboxes', { address: 'starter@example.jp', no_password: true })
    assert.equal(made.status, 201)
    await deliver('starter@example.jp', made.body.id, 'welcome')
    for (const guess of [password, '{PLAIN}', 'no-password'])
      assert.deepEqual(await works('starter', guess), none)
    assert.equal((await admin.put('/v1/accounts/starter/password', { password })).status, 204)
    assert.deepEqual(await works('starter'), all)
    const login = { user: 'starter@example.jp', password, mechanism: 'PLAIN' }
    assert.match(await curlFetch(servers, 'pop3', login), /^Subject: welcome/m)
  })

  test('a domain that was deleted is no longer ours', async () => {
    await admin.post('/v1/domains', { name: 'brief.jp' })
    const id = await createMailbox('brief@brief.jp')
    await deliver('brief@brief.jp', id, 'in time')
    await admin.delete('/v1/domains/brief.jp?mailboxes=delete&expect=1')
    assert.match(
      await send(servers, { from: outsider, to: 'brief@brief.jp' }),
      /^554 5\.7\.1 .*Relay access denied/,
    )
  })

  test('a member of a relay network is nobody by default, not even this machine', async () => {
    const dialogue = await openDialogue(servers.ports.smtp)
    await dialogue.say('EHLO client.example')
    await dialogue.say('MAIL FROM:<>')
    assert.match(await dialogue.say('RCPT TO:<someone@elsewhere.example>'), /^554 5\.7\.1 /)
    dialogue.close()
  })
})
