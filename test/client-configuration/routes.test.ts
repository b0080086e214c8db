import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { assertAutoconfig, cannotValidate, faultsOf } from '../support/autoconfig.ts'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const password = 'correct horse battery'

before(async () => {
  await admin.patch('/v1/server', { mail_server: 'mail.example.jp', scram_iterations: 4096 })
  await admin.post('/v1/domains', { name: 'example.jp' })
  const mechanisms = { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] }
  await admin.post('/v1/domains', { name: 'both.jp', ...mechanisms, mail_server: 'mail.both.jp' })
  await admin.post('/v1/domains', { name: 'cram.jp', secure_password_mechanisms: ['CRAM-MD5'] })
  const account = { display_name: `<Hanako> & "山田"'s` }
  await admin.post('/v1/mailboxes', { address: 'user05@example.jp', password, account })
  await admin.post('/v1/mailboxes', { address: 'both@both.jp', password })
  await admin.post('/v1/mailboxes', { address: 'cram@cram.jp', password })
  await admin.post('/v1/mailboxes', {
    address: 'file@example.jp',
    password,
    authentication: 'password_file',
  })
  await admin.post('/v1/mailboxes', { address: 'later@example.jp', no_password: true })
})

interface Wish {
  login?: 'clear_text' | 'secure_password'
  accept?: string
  client?: Client
}

function ask(mailbox: string, { login, accept, client = admin }: Wish = {}): Promise<Reply> {
  const query = login ? `?login=${login}` : ''
  const path = `/v1/mailboxes/${encodeURIComponent(mailbox)}/client-configuration${query}`
  return client.get(path, accept === undefined ? {} : { headers: { accept } })
}

async function askText(mailbox: string, wish: Wish = {}): Promise<string> {
  const { status, body, headers } = await ask(mailbox, { ...wish, accept: 'text/plain' })
  assert.deepEqual([status, headers.get('content-type')], [200, 'text/plain; charset=utf-8'])
  return body
}

async function askXml(mailbox: string, wish: Wish = {}) {
  const { status, body } = await ask(mailbox, wish)
  assert.equal(status, 200)
  return assertAutoconfig(body)
}

function servers(authentication: string[], username: string, hostname = 'mail.example.jp') {
  const rest = { authentication, username }
  return [
    { type: 'imap', hostname, port: 993, socketType: 'SSL', ...rest },
    { type: 'pop3', hostname, port: 995, socketType: 'SSL', ...rest },
    { type: 'smtp', hostname, port: 587, socketType: 'STARTTLS', ...rest },
  ]
}

describe('as XML', () => {
  test('has the clear-text login, and the servers with their ports', async () => {
    const expected = {
      version: '1.1',
      id: 'example.jp',
      domains: ['example.jp'],
      displayName: 'example.jp',
      displayShortName: 'example.jp',
      servers: servers(['password-cleartext'], 'user05@example.jp'),
    }
    assert.deepEqual(await askXml('user05@example.jp'), expected)
    assert.deepEqual(await askXml('user05@example.jp', { login: 'clear_text' }), expected)
    assert.deepEqual(await askXml('USER05@Example.JP.'), expected)
    const { body } = await admin.get('/v1/mailboxes/user05@example.jp')
    assert.deepEqual(await askXml(body.id), expected)
  })

  test('has the bare name for challenge and response, with the mechanisms by their names before the general word', async () => {
    const both = await askXml('both@both.jp', { login: 'secure_password' })
    assert.equal(both.version, '1.2')
    assert.deepEqual(both.servers, servers(['SCRAM-SHA-256', 'password-encrypted'], 'both', 'mail.both.jp'))
    const cram = await askXml('cram@cram.jp', { login: 'secure_password' })
    assert.equal(cram.version, '1.1')
    assert.deepEqual(cram.servers, servers(['password-encrypted'], 'cram'))
  })

  test('does not exist for SCRAM alone, which programs have no word for', async () => {
    const reply = await ask('user05@example.jp', { login: 'secure_password' })
    assert.equal(outcome(reply), '422 login-form-not-expressible')
    assert.match(reply.body.detail, /SCRAM-SHA-256/)
    const text = await askText('user05@example.jp', { login: 'secure_password' })
    assert.match(text, /Account name: +user05\n/)
  })

  test('of an account whose mechanism is no longer listed has what the mail servers still take', async () => {
    await admin.post('/v1/domains', {
      name: 'less.jp',
      secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'],
    })
    await admin.post('/v1/mailboxes', { address: 'less@less.jp', password })
    await admin.patch('/v1/domains/less.jp', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
    const reply = await ask('less@less.jp', { login: 'secure_password' })
    assert.equal(outcome(reply), '422 login-form-not-expressible')
  })

  test('is of the media type that is asked for, and of text/xml without a wish', async () => {
    for (const [accept, expected] of [
      [undefined, 'text/xml; charset=utf-8'],
      ['application/xml', 'application/xml; charset=utf-8'],
      ['text/plain;q=0.5, text/*;q=0.9', 'text/xml; charset=utf-8'],
    ] as const) {
      const { status, headers } = await ask('user05@example.jp', accept === undefined ? {} : { accept })
      assert.deepEqual([status, headers.get('content-type')], [200, expected])
      assert.deepEqual([headers.get('vary'), headers.get('cache-control')], ['accept', 'no-store'])
    }
    for (const mailbox of ['user05@example.jp', 'nobody@example.jp']) {
      const refused = await ask(mailbox, { accept: 'application/json' })
      assert.equal(outcome(refused), '406 not-acceptable')
      assert.equal(refused.headers.get('vary'), 'accept')
    }
  })

  test('shows the domain as people read it, and hands the servers its A-labels', async () => {
    await admin.post('/v1/domains', { name: '例え.jp' })
    await admin.post('/v1/mailboxes', { address: 'idn@例え.jp', password })
    for (const address of ['idn@例え.jp', 'idn@xn--r8jz45g.jp']) {
      const read = await askXml(address)
      assert.deepEqual(
        [read.id, read.domains, read.displayName],
        ['xn--r8jz45g.jp', ['xn--r8jz45g.jp'], '例え.jp'],
      )
      assert.equal(read.servers[0]?.username, 'idn@xn--r8jz45g.jp')
      assert.match(await askText(address), /^Mailbox: +idn@xn--r8jz45g\.jp \(idn@例え\.jp\)\n/)
    }
  })

  test('leaves names out that are longer than programs show', async () => {
    const long = `${'a'.repeat(50)}.${'b'.repeat(50)}.jp`
    await admin.post('/v1/domains', { name: long })
    await admin.post('/v1/domains', { name: `${'c'.repeat(30)}.jp` })
    await admin.post('/v1/mailboxes', { address: `long@${long}`, password })
    await admin.post('/v1/mailboxes', { address: `middle@${'c'.repeat(30)}.jp`, password })
    const { displayName, displayShortName, domains } = await askXml(`long@${long}`)
    assert.deepEqual([displayName, displayShortName, domains], [undefined, undefined, [long]])
    const middle = await askXml(`middle@${'c'.repeat(30)}.jp`)
    assert.deepEqual([middle.displayName, middle.displayShortName], [`${'c'.repeat(30)}.jp`, undefined])
  })
})

describe('as text', () => {
  test('has both account names, the mail server and its ports, like the old confirmation dialog', async () => {
    const text = await askText('user05@example.jp')
    assert.equal(
      text,
      `Mailbox:   user05@example.jp
Your name: <Hanako> & "山田"'s

<If using clear text authentication ("normal password")>
   Account name:   user05@example.jp
   Authentication: PLAIN, LOGIN
   Mail server:    mail.example.jp

<If using secure password authentication ("encrypted password", challenge and response)>
   Account name:   user05
   Authentication: SCRAM-SHA-256
   Mail server:    mail.example.jp

<Servers>
   Incoming mail, POP3: mail.example.jp, port 995, SSL/TLS
   Incoming mail, IMAP: mail.example.jp, port 993, SSL/TLS
   Outgoing mail, SMTP: mail.example.jp, port 587, STARTTLS

Account name and password are the same for incoming and for outgoing mail.
`,
    )
  })

  test('has the form alone that is asked for, and those alone that the mailbox has', async () => {
    const clear = await askText('user05@example.jp', { login: 'clear_text' })
    assert.match(clear, /clear text/)
    assert.doesNotMatch(clear, /secure password/)
    const secure = await askText('user05@example.jp', { login: 'secure_password' })
    assert.doesNotMatch(secure, /clear text/)
    const file = await askText('file@example.jp')
    assert.match(file, /Account name: +file@example\.jp\n/)
    assert.doesNotMatch(file, /secure password|Your name/)
  })
})

test('a form that the mailbox does not have is refused, in every media type', async () => {
  const cases: [string, Wish][] = [
    ['file@example.jp', { login: 'secure_password' }],
    ['later@example.jp', {}],
    ['later@example.jp', { login: 'clear_text' }],
    ['later@example.jp', { login: 'secure_password' }],
  ]
  for (const [mailbox, wish] of cases) {
    for (const accept of ['text/xml', 'text/plain']) {
      const reply = await ask(mailbox, { ...wish, accept })
      assert.equal(outcome(reply), '422 login-form-unavailable')
      assert.equal(reply.headers.get('content-type')?.split(';')[0], 'application/problem+json')
    }
  }
})

test('where the server takes challenge and response only, there is no clear-text form', async (t) => {
  t.after(() => admin.patch('/v1/server', { require_secure_password: false }))
  await admin.patch('/v1/server', { require_secure_password: true })
  const refused = await ask('both@both.jp', { login: 'clear_text' })
  assert.equal(outcome(refused), '422 login-form-unavailable')
  const { servers: shown } = await askXml('both@both.jp')
  assert.deepEqual(shown[0]?.authentication, ['SCRAM-SHA-256', 'password-encrypted'])
  assert.doesNotMatch(await askText('both@both.jp'), /clear text/)
  assert.equal(outcome(await ask('user05@example.jp')), '422 login-form-not-expressible')
  assert.equal(outcome(await ask('file@example.jp')), '422 login-form-unavailable')
})

test('follows the ports of the server', async (t) => {
  t.after(() => admin.patch('/v1/server', { pop3s_port: null, imaps_port: null, submission_port: null }))
  await admin.patch('/v1/server', { pop3s_port: 2995, imaps_port: 2993, submission_port: 2587 })
  const { servers: shown } = await askXml('user05@example.jp')
  assert.deepEqual(
    shown.map(({ port }) => port),
    [2993, 2995, 2587],
  )
})

test('a lock changes nothing, a deleted mailbox is not there', async () => {
  await admin.post('/v1/mailboxes', { address: 'gone@example.jp', password })
  const { body: open } = await ask('gone@example.jp')
  await admin.patch('/v1/mailboxes/gone@example.jp', { locked: true })
  assert.equal((await ask('gone@example.jp')).body, open)
  await admin.delete('/v1/mailboxes/gone@example.jp')
  assert.equal(outcome(await ask('gone@example.jp')), '404 mailbox-not-found')
})

test('tells a limited caller of its own domains only', async () => {
  const client = await service.as({ scopes: ['mailboxes:read'], domains: ['both.jp'] })
  assert.equal(outcome(await ask('both@both.jp', { client })), '200')
  for (const login of ['clear_text', 'secure_password'] as const) {
    for (const mailbox of ['user05@example.jp', 'nobody@example.jp', 'not an address'])
      assert.equal(outcome(await ask(mailbox, { client, login })), '404 mailbox-not-found')
  }
})

test('refuses a form that there is not', async () => {
  const path = '/v1/mailboxes/user05@example.jp/client-configuration?login=apop'
  assert.equal(outcome(await admin.get(path)), '400 invalid-request')
})

test('the grammar that the files are held against refuses what is wrong', {
  skip: cannotValidate,
}, async () => {
  const { body } = await ask('both@both.jp', { login: 'secure_password' })
  assert.equal(faultsOf(body), '')
  const wrong: [string, string][] = [
    ['password-encrypted', 'CRAM-MD5'],
    ['system="sasl"', 'system="http"'],
    ['<port>993</port>', '<port>0</port>'],
    ['<port>993</port>', '<port>65536</port>'],
    ['<port>993</port>', ''],
    ['>SSL<', '>TLS<'],
    ['type="imap"', 'type="imaps"'],
    ['version="1.2"', 'version="2"'],
    ['<username>both</username>', '<username>%USER%</username>'],
    ['<domain>both.jp</domain>', ''],
    ['<displayName>both.jp', `<displayName>${'x'.repeat(61)}`],
    ['</emailProvider>', ''],
    ['<clientConfig', '<clientConfig colour="red"'],
  ]
  for (const [part, other] of wrong) {
    assert.ok(body.includes(part), part)
    assert.notEqual(faultsOf(body.replace(part, other)), '', other)
  }
})
