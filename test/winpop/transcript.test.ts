import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { before, test } from 'node:test'
import { winpop } from '../../src/cli/winpop/program.ts'
import { fillMailboxes, nameOf } from '../support/many.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const token = await service.token()
const password = 'correct horse battery'

interface Options {
  /** What is typed or piped. */
  input?: string
  isTerminal?: boolean
  env?: Record<string, string>
}

/** As a person does: the next line once the next question is there. */
function typeLines(stdin: PassThrough, stderr: PassThrough, lines: string[]): void {
  stderr.on('data', (text) => String(text).endsWith(': ') && stdin.write(`${lines.shift()}\n`))
}

/** What a terminal would show, and the exit code. */
async function run(args: string[], { input = '', isTerminal = false, env }: Options = {}) {
  const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() }
  Object.assign(streams.stdin, { isTTY: isTerminal })
  if (isTerminal) typeLines(streams.stdin, streams.stderr, input.split('\n'))
  else streams.stdin.end(input)
  const surroundings = { ...streams, env: env ?? { MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: token } }
  const shown = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) streams[name].on('data', (text) => (shown[name] += text))
  const code = await winpop(args, surroundings)
  const { stdout, stderr } = shown
  for (const secret of [password, token, ...(input ? input.trim().split('\n') : [])])
    assert.ok(!`${stdout}${stderr}`.includes(secret), 'no secret in what is printed')
  return { code, stdout, stderr }
}

/** As a user of the old tool types it. */
const command = (line: string) => run(line.split(' ').map((word) => word.replaceAll('~', ' ')))

const quoted = password.replaceAll(' ', '~')

before(async () => {
  await admin.patch('/v1/server', { mail_server: 'mail.example.jp' })
})

const loginInformation = (name: string) => `Mailbox successfully added.
Log on to the new mailbox as follows; mail programs need the name of the kind that they use:
  If using clear text authentication
     Account name: ${name}@example.jp
     Mail server:  mail.example.jp
  If using Secure Password Authentication
     Account name: ${name}
     Mail server:  mail.example.jp
`
const domainRow = (count: number, state: string) => `example.jp${' '.repeat(42)}${count}  ${state}\n`
const mailboxRow = (name: string, state: string) => `${name.padEnd(40)}            0            0  ${state}\n`
const domainHeading = 'Domain                                      Mailboxes  State\n'
const mailboxHeading = 'Mailbox                                      Messages        Bytes  State\n'

type Step = [line: string, stdout: string, stderr?: string | RegExp, code?: number]

/** One after the other, like the batch file of somebody who moves over. */
const transcript: Step[] = [
  ['list', '0 domains\n'],
  ['add example.jp', 'Domain successfully added.\n'],
  ['ADD EXAMPLE.JP', '', /^The domain already exists.*\n/, 1],
  [`add user05@example.jp /createuser ${quoted}`, loginInformation('user05')],
  [`Add user06@example.jp /CREATEUSER:${quoted}`, loginInformation('user06')],
  [`add /createuser=${quoted} user07@example.jp`, loginInformation('user07')],
  [`add user05@example.jp /createuser ${quoted}`, '', /^The mailbox already exists\n$/, 1],
  ['add user08@example.jp', '', /^The account does not exist.*\n/, 1],
  [`add user08@example.com /createuser ${quoted}`, '', /^The domain does not exist here: .*\n$/, 1],
  ['add user08@example.jp /createuser short', '', /^The password is too weak.*\n/, 1],
  ['add example.org /createuser x', '', /^\/createuser is for mailboxes/, 2],
  ['list', `${domainHeading}${domainRow(3, 'unlocked')}1 domain\n`],
  ['lock user06@example.jp', 'Mailbox successfully locked.\n'],
  [
    'List example.jp',
    `${mailboxHeading}${mailboxRow('user05', 'unlocked')}${mailboxRow('user06', 'locked')}${mailboxRow('user07', 'unlocked')}3 mailboxes\n`,
  ],
  ['LOCK example.jp', 'Domain successfully locked.\n'],
  ['list', `${domainHeading}${domainRow(3, 'locked')}1 domain\n`],
  [
    'unlock user06@example.jp',
    'Mailbox successfully unlocked.\n',
    'Nobody can log on before its domain is unlocked too: winpop unlock example.jp\n',
  ],
  [
    'list example.jp',
    `${mailboxHeading}${['user05', 'user06', 'user07'].map((name) => mailboxRow(name, 'locked with its domain')).join('')}3 mailboxes\n`,
  ],
  ['unlock example.jp', 'Domain successfully unlocked.\n'],
  ['stat', 'Mail server mail.example.jp\nDomains     1\nMailboxes   3\nMessages    0\nBytes       0\n'],
  ['stat example.jp', 'Mailboxes   3\nMessages    0\nBytes       0\n'],
  ['stat example.com', '', /^No such domain\n/, 1],
  ['list example.com', '', /^No such domain\n/, 1],
  ['changepwd user05@example.jp /a~new~one~of~a~horse', 'Password successfully changed.\n'],
  ['CHANGEPWD user05@example.jp --a~new~one~of~a~horse', 'Password successfully changed.\n'],
  ['changepwd user09@example.jp a~new~one~of~a~horse', '', /^No such mailbox\n/, 1],
  ['changepwd example.jp a~new~one~of~a~horse', '', /^Name a mailbox first: user@domain\./, 2],
  [
    'createquotafile user05@example.jp /user:joe',
    'Nothing to do: a quota needs no file. The limit of a mailbox is its quota_bytes, with that of its domain or of the server as the default.\n',
  ],
  ['migrateToAD user05@example.jp', '', /^There is no Active Directory to migrate to/, 2],
  ['get auth', 'local\n'],
  ['get AUTHENTICATION', 'local\n'],
  ['get sparequired', '0\n'],
  ['set sparequired 1', 'Setting successfully changed.\n'],
  ['get sparequired', '1\n'],
  ['set sparequired yes', '', /^It is 0 .* or 1/, 2],
  ['set SPARequired 0', 'Setting successfully changed.\n'],
  ['get port', '995\n'],
  ['set port 1995', 'Setting successfully changed.\n', /^Mail programs are told this port\..*\n$/],
  ['set port 0', '', /\/pop3s_port/, 1],
  ['set auth 2', '', /^What the numbers meant depended on the machine\./, 2],
  ['set authentication password_file', 'Setting successfully changed.\n'],
  ['get auth', 'password_file\n'],
  [
    `add filed@example.jp /createuser ${quoted}`,
    loginInformation('filed').replace(
      /(Secure Password Authentication\n)[\s\S]*/,
      '$1     not possible with this account\n',
    ),
  ],
  ['add filed2@example.jp', '', /^The account does not exist.*\n/, 1],
  ['set auth LOCAL', 'Setting successfully changed.\n'],
  ['set socket 10 50 10 5', '', /^Connections are limited in Dovecot's configuration/, 2],
  ['get socketmax', '', /^Connections are limited in Dovecot's configuration/, 2],
  ['get logging', '', /LOG_LEVEL/, 2],
  ['set mailroot D:\\mail', '', /DOVEADM_MAIL_DIR/, 2],
  ['set threadcount 4', '', /process_limit/, 2],
  ['get colour', '', /^There is no such setting; there are: authentication,/, 2],
  ['del user06@example.jp', 'Mailbox successfully deleted.\n'],
  ['add user06@example.jp', loginInformation('user06')],
  ['DELETE user06@example.jp /DeleteUser', 'Mailbox successfully deleted.\n'],
  ['add user06@example.jp', '', /^The account does not exist.*\n/, 1],
  ['delete user09@example.jp', '', /^No such mailbox\n/, 1],
  ['del example.jp', 'Domain successfully deleted.\n'],
  ['list', '0 domains\n'],
  ['delete example.jp', '', /^No such domain\n/, 1],
]

test('the commands of an old batch file, one after the other', async (t) => {
  for (const [line, stdout, stderr = '', code = 0] of transcript)
    await t.test(`winpop ${line}`, async () => {
      const shown = await command(line)
      if (stderr instanceof RegExp) assert.match(shown.stderr, stderr)
      else assert.equal(shown.stderr, stderr)
      assert.equal(shown.stdout, stdout)
      assert.equal(shown.code, code)
    })
})

test('usage: what there is and what a command takes, in the spelling of the old tool', async () => {
  const usages: [args: string[], code: number, text: RegExp][] = [
    [[], 2, /Commands:\n {2}ADD <domain> \| <user@domain> \[\/createuser <password>\]/],
    [['/?'], 0, /can be seen by everybody on this machine/],
    [['HELP', 'Add'], 0, /^Usage: winpop add <domain> \| <user@domain> \[\/createuser <password>\]/],
    [['delete', '/?'], 0, /^Usage: winpop delete <domain> \| <user@domain> \[\/deleteuser\]/],
  ]
  for (const [args, code, text] of usages) {
    const shown = await run(args)
    assert.match(shown.stdout, text)
    assert.equal(shown.code, code)
  }
  const all = (await run(['help'])).stdout
  const names = 'ADD CHANGEPWD CREATEQUOTAFILE DELETE GET LIST LOCK MIGRATETOAD SET STAT UNLOCK'.split(' ')
  for (const name of names) assert.match(all, new RegExp(`^ {2}${name} `, 'm'))
})

test('mistakes of whoever types it: 2, a sentence, and nothing is done', async () => {
  const mistakes: [line: string, text: RegExp][] = [
    ['format c:', /unknown command 'format'/],
    ['add', /missing required argument 'name'/],
    ['add a@example.jp b@example.jp', /too many arguments/],
    ['add a@example.jp /force', /^add has no such switch\./],
    ['del a@example.jp /deleteuser:yes', /^\/deleteuser takes no value\./],
    ['lock /createuser:x example.jp', /^lock has no such switch\./],
    ['lock', /missing required argument/],
    ['changepwd', /missing required argument/],
  ]
  for (const [line, text] of mistakes) {
    const { code, stdout, stderr } = await command(line)
    assert.match(stderr, text)
    assert.equal(stdout, '')
    assert.equal(code, 2)
  }
})

test('a password in the wrong place is not repeated', async () => {
  const lines = [
    `changepwd ${quoted} a@example.jp`,
    `changepwd a@example.jp /createuser:${quoted} ${quoted}`,
    `delete a@example.jp /createuser ${quoted}`,
    `lock a@example.jp /createuser:${quoted}`,
    `add a@example.jp /creatuser:${quoted}`,
    `add a@example.jp /${quoted}`,
    `add a@example.jp ${quoted}`,
    `set ${quoted} a@example.jp`,
  ]
  for (const line of lines) assert.equal((await command(line)).code, 2, line) // `run` looks for it
})

test('a password may look like a switch; both logins of the mailbox are those that were printed', async () => {
  await run(['add', 'both.example'])
  await command(`add both@both.example /createuser ${quoted}`)
  const mailbox = await admin.get('/v1/mailboxes/both@both.example')
  const { clear_text, secure_password } = mailbox.body.credentials
  assert.equal(clear_text.username, 'both@both.example')
  assert.equal(secure_password.username, 'both')
  const check = async (tried: string) =>
    (await admin.post('/v1/accounts/both/password/check', { password: tried })).body.valid
  assert.equal(await check(password), true)
  const { code } = await run(['changepwd', 'both@both.example', '/createuser:of a horse'])
  assert.equal(code, 0)
  assert.equal(await check('/createuser:of a horse'), true)
})

test('a password that is not on the command line is read, or asked for twice and not shown', async () => {
  await run(['add', 'example.net'])
  const secret = 'piped in by a script'
  const piped = await run(['add', 'piped@example.net', '/createuser'], { input: `${secret}\r\n` })
  assert.equal(piped.code, 0, piped.stderr)
  const dash = await run(['changepwd', 'piped@example.net', '-'], { input: `${secret} again\n` })
  assert.equal(dash.code, 0, dash.stderr)
  const typed = await run(['changepwd', 'piped@example.net'], {
    input: 'typed by somebody\ntyped by somebody\n',
    isTerminal: true,
  })
  assert.equal(typed.stderr, 'Password: \nThe same again: \n')
  assert.equal(typed.code, 0)
  const checked = await admin.post('/v1/accounts/piped/password/check', { password: 'typed by somebody' })
  assert.equal(checked.body.valid, true)

  const differing = await run(['changepwd', 'piped@example.net'], {
    input: 'typed by one\ntyped by another\n',
    isTerminal: true,
  })
  assert.match(differing.stderr, /The two are not the same\./)
  assert.equal(differing.code, 2)
  const nothing = await run(['changepwd', 'piped@example.net'])
  assert.match(nothing.stderr, /^There is no password/)
  assert.equal(nothing.code, 2)
})

test('a name of another domain is refused with who may have it', async () => {
  await run(['add', 'one.example'])
  await run(['add', 'two.example'])
  await command(`add shared@one.example /createuser ${quoted}`)
  const { code, stderr } = await command(`add shared@two.example /createuser ${quoted}`)
  assert.match(stderr, /^The name is taken/)
  assert.equal(code, 1)
})

test('deletes a domain with more mailboxes than a page, and their accounts where it is told to', async () => {
  await fillMailboxes(service.admin, { mailboxes: 15_000, big: 'large.example' })
  const listed = await run(['list', 'large.example'])
  assert.match(listed.stdout, /\n1500 mailboxes\n$/)
  assert.equal(listed.stdout.split('\n').length, 1 + 1500 + 2)
  assert.equal((await run(['del', 'large.example', '/deleteuser'])).code, 0)
  assert.equal((await admin.get(`/v1/accounts/${nameOf(10)}`)).status, 404)
})

test('without a service, a token or the right to do it', async () => {
  const away = { MAILWRIGHT_URL: 'http://127.0.0.1:9', MAILWRIGHT_TOKEN: token }
  const unreached = await run(['list'], { env: away })
  assert.match(unreached.stderr, /^No answer from the service: /)
  assert.equal(unreached.code, 1)
  const without = await run(['list'], { env: {} })
  assert.match(without.stderr, /^MAILWRIGHT_TOKEN is not set/)
  assert.equal(without.code, 2)
  const wrong = { MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: 'no token' }
  const refused = await run(['list'], { env: wrong })
  assert.match(refused.stderr, /^A valid bearer token is needed/)
  assert.equal(refused.code, 1)
  const limited = {
    MAILWRIGHT_URL: service.url,
    MAILWRIGHT_TOKEN: await service.token({ scopes: ['domains:read'] }),
  }
  const forbidden = await run(['add', 'other.example'], { env: limited })
  assert.match(forbidden.stderr, /domains:write/)
  assert.equal(forbidden.code, 1)
})
