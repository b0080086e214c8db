import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { curlLogin, gsaslLogin, mpopFetch, openDialogue, run, send } from '../support/mail-clients.ts'
import { cannotServeMail, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const outsider = 'someone@elsewhere.example'
const user05 = { user: 'user05@example.jp', password }

describe('what the mail servers refuse', { skip: cannotServeMail }, () => {
  before(async () => {
    await admin.post('/v1/domains', { name: 'example.jp' })
    for (const name of ['user01', 'user05'])
      await admin.post('/v1/mailboxes', { address: `${name}@example.jp`, password })
    await admin.post('/v1/mailboxes', {
      address: 'file@example.jp',
      password,
      authentication: 'password_file',
    })
  })

  test('mail from elsewhere is taken for those who exist', async () => {
    assert.equal(await send(servers, { from: outsider, to: 'user05@example.jp' }), '250')
  })

  const mails: [what: string, message: Parameters<typeof send>[1], answer: RegExp][] = [
    ['an unknown recipient', { from: outsider, to: 'nobody@example.jp' }, /^550 5\.1\.1 .*User unknown/],
    [
      'an unknown recipient of an authenticated client',
      { from: 'user05@example.jp', to: 'nobody@example.jp', ...user05 },
      /^550 5\.1\.1 .*User unknown/,
    ],
    ['an unknown domain', { from: outsider, to: 'user05@example.com' }, /^554 5\.7\.1 .*Relay access denied/],
    [
      'relaying with a sender of ours and no login',
      { from: 'user05@example.jp', to: outsider },
      /^554 5\.7\.1 .*Relay access denied/,
    ],
    [
      'relaying by percent sign',
      { from: outsider, to: 'someone%elsewhere.example@example.jp' },
      /^554 5\.7\.1 .*Relay access denied/,
    ],
    [
      'another mailbox’s address as sender',
      { from: 'user01@example.jp', to: 'user01@example.jp', ...user05 },
      /^553 5\.7\.1 .*not owned by user user05@example\.jp/,
    ],
    [
      'another mailbox’s address as sender, with the bare name',
      { from: 'user01@example.jp', to: 'user01@example.jp', ...user05, mechanism: 'LOGIN' },
      /^553 5\.7\.1 .*not owned by user user05@example\.jp/,
    ],
    [
      'a sender from elsewhere',
      { from: outsider, to: 'user01@example.jp', ...user05 },
      /^553 5\.7\.1 .*not owned by user/,
    ],
    [
      'postmaster as sender',
      { from: 'postmaster@example.jp', to: 'user01@example.jp', ...user05 },
      /^553 5\.7\.1 .*not owned by user/,
    ],
    [
      'a wrong password',
      { from: 'user05@example.jp', to: 'user01@example.jp', ...user05, password: 'WRONG' },
      /^535 5\.7\.8 /,
    ],
    [
      'the bare name with PLAIN',
      { from: 'user05@example.jp', to: 'user01@example.jp', user: 'user05', password },
      /^535 5\.7\.8 /,
    ],
    [
      'an unknown login in the same words',
      { from: 'user05@example.jp', to: 'user01@example.jp', user: 'nobody@example.jp', password },
      /^535 5\.7\.8 Error: authentication failed: /,
    ],
  ]
  for (const [what, message, answer] of mails) {
    test(what, async () => assert.match(await send(servers, message), answer))
  }

  test('relaying, but for clients of the networks that the server lists', async () => {
    const offer = async () => {
      const dialogue = await openDialogue(servers.ports.smtp)
      await dialogue.say('EHLO client.example')
      await dialogue.say(`MAIL FROM:<${outsider}>`)
      const answer = await dialogue.say('RCPT TO:<someone@faraway.example>')
      dialogue.close()
      return answer
    }
    assert.match(await offer(), /^554 5\.7\.1 .*Relay access denied/)
    await admin.patch('/v1/server', { relay_networks: ['127.0.0.0/8'] })
    assert.match(await offer(), /^250 2\.1\.5 /)
    await admin.patch('/v1/server', { relay_networks: ['192.0.2.0/28'] })
    assert.match(await offer(), /^554 5\.7\.1 .*Relay access denied/)
  })

  test('submission without a login, and a login outside TLS', async () => {
    const dialogue = await openDialogue(servers.ports.submission)
    await dialogue.say('EHLO client.example')
    assert.match(await dialogue.say('MAIL FROM:<user05@example.jp>'), /^530 5\.7\.0 /)
    assert.match(
      await dialogue.say(`AUTH PLAIN ${btoa('\0user05@example.jp\0MYSECRETPASSWORD')}`),
      /^530 5\.7\.0 /,
    )
    dialogue.close()
  })

  const logins: [user: string, password: string, mechanism: string, answer: 'ok' | 'refused'][] = [
    ['user05@example.jp', password, 'PLAIN', 'ok'],
    ['user05@example.jp', 'WRONG', 'PLAIN', 'refused'],
    ['user05', password, 'PLAIN', 'refused'],
    ['user05', password, 'LOGIN', 'refused'],
    ['nobody@example.jp', password, 'PLAIN', 'refused'],
    ['file@example.jp', password, 'PLAIN', 'ok'],
    ['file', password, 'PLAIN', 'refused'],
  ]
  for (const [user, secret, mechanism, answer] of logins) {
    test(`${mechanism} of ${user} with ${secret} is ${answer}`, async () => {
      for (const protocol of ['pop3', 'imap'] as const) {
        if (protocol === 'pop3' || mechanism === 'PLAIN')
          assert.equal(
            await curlLogin(servers, protocol, { user, password: secret, mechanism }),
            answer,
            protocol,
          )
      }
    })
  }

  test('SCRAM-SHA-256 with a wrong password, of a password_file account and of nobody', async () => {
    const scram = (user: string, secret = password) => ({
      user,
      password: secret,
      mechanism: 'SCRAM-SHA-256',
    })
    assert.notEqual(await mpopFetch(servers, scram('user05')), undefined)
    for (const login of [
      scram('user05', 'WRONG'),
      scram('file'),
      scram('file@example.jp'),
      scram('nobody'),
    ]) {
      assert.equal(await mpopFetch(servers, login), undefined, login.user)
      assert.equal(await gsaslLogin(servers, login), false, login.user)
    }
  })

  test('an unknown login is answered like a wrong password, in the same words', async () => {
    const answers = await Promise.all(
      ['user05@example.jp', 'nobody@example.jp'].map(async (user) => {
        const dialogue = await openPop3(user)
        const said = dialogue.output.split(/\r?\n/).filter((line) => /^[+-]/.test(line)) // openssl adds notes
        return said.join('\n').replaceAll(/session=<[^>]*>/g, '')
      }),
    )
    assert.equal(answers[0], answers[1])
    assert.match(answers[0]!, /-ERR \[AUTH\]/)
  })

  test('addresses of any bytes, after which the next recipient is answered at once', async () => {
    const odd = [
      ...Array.from({ length: 0x7f }, (_, i) => Buffer.from([0x80 + i])),
      Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80]),
      Buffer.from(`"a'b"`),
      Buffer.from("';drop/**/table--"),
      Buffer.from('a%00b%s%u%d'),
      Buffer.from('"a\\\\\'b"'),
      Buffer.from('a'.repeat(500)),
    ]
    for (let i = 0; i < odd.length; i += 10) {
      const dialogue = await startMail() // Postfix hangs up after smtpd_hard_error_limit = 20 errors
      for (const bytes of odd.slice(i, i + 10)) {
        const line = Buffer.concat([Buffer.from('RCPT TO:<'), bytes, Buffer.from('@example.jp>')])
        // never 451: the database is not taken for dead
        assert.match(await dialogue.say(line), /^5\d\d /, line.toString('latin1'))
      }
      dialogue.close()
    }
    const next = await startMail()
    const since = Date.now()
    assert.match(await next.say('RCPT TO:<user05@example.jp>'), /^250 /)
    assert.ok(Date.now() - since < 5_000)
    next.close()
    assert.deepEqual(logged(/postfix\/proxymap\[\d+\]: (warning|error|fatal)/), [])
  })

  test('logins of any bytes, after which the next login works', async () => {
    for (const user of [
      '\xff\xfe@example.jp',
      "a'b@example.jp",
      'a"b',
      '%u%00',
      'a'.repeat(900),
      '\u{1f600}',
    ])
      assert.match((await openPop3(user)).output, /-ERR/, user)
    assert.equal(await curlLogin(servers, 'pop3', { ...user05, mechanism: 'PLAIN' }), 'ok')
    // Not what two auth processes that start at once tell of the secret of tokens that nobody uses here.
    assert.deepEqual(logged(/auth: (Error|Panic|Fatal)(?!.*auth[- ]token)/), [])
  })
})

async function startMail() {
  const dialogue = await openDialogue(servers.ports.smtp)
  await dialogue.say('EHLO client.example')
  await dialogue.say(`MAIL FROM:<${outsider}>`)
  return dialogue
}

const logged = (what: RegExp) =>
  servers
    .logs()
    .split('\n')
    .filter((line) => what.test(line))

/** USER and PASS as they are, inside TLS. */
function openPop3(user: string) {
  const address = `127.0.0.1:${servers.ports.pop3s}`
  return run('openssl', ['s_client', '-quiet', '-connect', address], `USER ${user}\r\nPASS WRONG\r\nQUIT\r\n`)
}
