import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { readAutoconfig } from '../support/autoconfig.ts'
import {
  curlCapability,
  curlFetch,
  curlLogin,
  gsaslLogin,
  mpopFetch,
  msmtpSend,
  send,
  swaksGreeting,
} from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const ids: Record<string, string> = {}
const inbox = (name: string) => readMaildir(servers, ids[name]!)
const clearText = { user: 'user05@example.jp', password, mechanism: 'PLAIN' }
const securePassword = { user: 'user05', password, mechanism: 'SCRAM-SHA-256' }

describe('the classic scenario, with stock clients', { skip: cannotServeMail }, () => {
  before(async () => {
    await admin.post('/v1/domains', { name: 'example.jp' })
    for (const name of ['user01', 'user05']) {
      const created = await admin.post('/v1/mailboxes', { address: `${name}@example.jp`, password })
      ids[name] = created.body.id
    }
  })

  test('the ports that clients are told are those that are open', async () => {
    const { body } = await admin.get('/v1/mailboxes/user05@example.jp')
    const ports = body.credentials.servers.map(({ port }: { port: number }) => port)
    assert.deepEqual(ports, [servers.ports.pop3s, servers.ports.imaps, servers.ports.submission])
  })

  test('user01 sends to user05 over authenticated submission', async () => {
    const message = {
      from: 'user01@example.jp',
      to: 'user05@example.jp',
      subject: 'how are you',
      body: 'こんにちは',
    }
    assert.equal(await send(servers, { ...message, user: 'user01@example.jp', password }), '250')
    await eventually(async () => (await inbox('user05')).length === 1, 'the delivery')
    const [mail] = await inbox('user05')
    assert.match(mail!, /^Subject: how are you$/m)
  })

  test('user05 fetches over POP3 and IMAP with the clear-text login', async () => {
    for (const protocol of ['pop3', 'imap'] as const)
      assert.match(await curlFetch(servers, protocol, clearText), /^Subject: how are you/m, protocol)
  })

  test('what a mail program is told without a token opens the mailbox', async () => {
    const { body } = await admin.get('/mail/config-v1.1.xml?emailaddress=user05@example.jp')
    const { servers: told } = readAutoconfig(body)
    assert.deepEqual(
      told.map(({ type, port, socketType }) => [type, port, socketType]),
      [
        ['imap', servers.ports.imaps, 'SSL'],
        ['pop3', servers.ports.pop3s, 'SSL'],
        ['smtp', servers.ports.submission, 'STARTTLS'],
      ],
    )
    const [{ username = '', authentication = [] } = {}] = told
    assert.deepEqual(authentication, ['password-cleartext'])
    const login = { ...clearText, user: username.replace('%EMAILADDRESS%', 'user05@example.jp') }
    for (const protocol of ['pop3', 'imap'] as const)
      assert.equal(await curlLogin(servers, protocol, login), 'ok')
  })

  test('user05 fetches over POP3 and logs in over IMAP with the bare name', async () => {
    assert.match((await mpopFetch(servers, securePassword)) ?? '', /^Subject: how are you$/m)
    assert.equal(await gsaslLogin(servers, securePassword), true)
  })

  test('the full address works with a challenge–response mechanism too', async () => {
    const login = { ...securePassword, user: 'user05@example.jp' }
    assert.match((await mpopFetch(servers, login)) ?? '', /^Subject: how are you$/m)
    assert.equal(await gsaslLogin(servers, login), true)
  })

  test('the reply goes back, sent with the bare name', async () => {
    const reply = { from: 'user05@example.jp', to: 'user01@example.jp', subject: 'fine' }
    assert.equal(await msmtpSend(servers, { ...reply, ...securePassword }), 'sent')
    await eventually(
      async () => (await inbox('user01')).some((mail) => /^Subject: fine$/m.test(mail)),
      'the reply',
    )
  })

  test('user05 sends with PLAIN and LOGIN', async () => {
    for (const mechanism of ['PLAIN', 'LOGIN'])
      assert.equal(
        await send(servers, { from: 'user05@example.jp', to: 'user01@example.jp', ...clearText, mechanism }),
        '250',
      )
  })

  test('CRAM-MD5 works after the next password change once a domain lists it, and stops when it does not', async () => {
    const cram = { user: 'user05', password, mechanism: 'CRAM-MD5' }
    await admin.patch('/v1/domains/example.jp', { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
    await eventually(() => offersCramMd5(true), 'the offer', 8_000)
    assert.equal(await curlLogin(servers, 'pop3', cram), 'refused')
    assert.equal((await admin.put('/v1/accounts/user05/password', { password })).status, 204)
    for (const protocol of ['pop3', 'imap'] as const) {
      assert.equal(await curlLogin(servers, protocol, cram), 'ok')
      assert.equal(await curlLogin(servers, protocol, { ...cram, user: 'user05@example.jp' }), 'ok')
    }
    assert.equal(await send(servers, { from: 'user05@example.jp', to: 'user01@example.jp', ...cram }), '250')
    const path = '/v1/mailboxes/user05@example.jp/client-configuration?login=secure_password'
    for (const { authentication, username } of readAutoconfig((await admin.get(path)).body).servers) {
      assert.deepEqual(authentication, ['SCRAM-SHA-256', 'password-encrypted'])
      assert.equal(await curlLogin(servers, 'imap', { ...cram, user: username }), 'ok')
      assert.equal(await gsaslLogin(servers, { ...securePassword, user: username }), true)
    }

    await admin.patch('/v1/domains/example.jp', { secure_password_mechanisms: null })
    assert.notEqual(await curlLogin(servers, 'pop3', cram).catch(() => 'not offered'), 'ok')
    await eventually(() => offersCramMd5(false), 'the end of the offer', 8_000)
    assert.equal(await gsaslLogin(servers, securePassword), true)
  })
})

/** Asks all three kinds of server. */
async function offersCramMd5(yes: boolean): Promise<boolean> {
  const lists = await Promise.all([
    curlCapability(servers, 'pop3'),
    curlCapability(servers, 'imap'),
    swaksGreeting(servers),
  ])
  return lists.every((list) => /SCRAM-SHA-256/.test(list) && /CRAM-MD5/.test(list) === yes)
}
