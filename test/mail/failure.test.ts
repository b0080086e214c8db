import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildApp } from '../../src/app.ts'
import { openDatabase } from '../../src/database.ts'
import { startEmbeddedPostgres } from '../../src/embedded.ts'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { migrate } from '../../src/migrations.ts'
import { scopes } from '../../src/scopes.ts'
import { createWorkQueue } from '../../src/work-queue.ts'
import { curlLogin, gsaslAnswer, gsaslLogin, openDialogue, run } from '../support/mail-clients.ts'
import {
  cannotServeMail,
  dovecotVersion,
  eventually,
  type MailServers,
  readMaildir,
  runMail,
  stopMail,
} from '../support/mail-servers.ts'

const password = 'MYSECRETPASSWORD'
/** How long a login is waited for that may not be answered. */
const momentMs = 5_000
const outsider = 'someone@elsewhere.example'

describe('when something fails', { skip: cannotServeMail }, () => {
  let servers: MailServers
  let postgres: Awaited<ReturnType<typeof startPostgres>>
  let call: (method: 'POST' | 'PATCH', url: string, payload: object) => Promise<{ id: string }>
  let dataDir: string
  const endings: (() => Promise<unknown>)[] = []

  // a Postgres of its own, because it is stopped and started
  before(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mailwright-failure-'))
    dataDir = join(folder, 'data')
    endings.push(() => rm(folder, { recursive: true, force: true }))
    execFileSync('chmod', ['711', folder])
    postgres = await startPostgres()
    endings.push(() => postgres.stop())
    await migrate({ ownerUrl: postgres.url })
    call = await openApi(join(folder, 'key.json'))
    await call('POST', '/v1/domains', { name: 'example.jp' })
    servers = await runMail(dataDir, {})
    endings.push(() => stopMail(servers))
  })
  after(async () => {
    for (const end of endings.reverse()) await end()
  })

  function startPostgres() {
    return startEmbeddedPostgres({ dataDir, log: () => undefined, settings: { fsync: 'off' } })
  }

  async function openApi(keyFile: string) {
    const keys = await loadOrCreateKeys(keyFile)
    const db = openDatabase(postgres.url)
    const auth = { keys, domainsClaim: 'mailwright_domains' }
    const app = await buildApp({ db, derivations: createWorkQueue(), auth })
    endings.push(() => app.close().then(() => db.destroy()))
    const token = await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 3600 })
    return async (method: 'POST' | 'PATCH', url: string, payload: object) => {
      const answer = await app.inject({ method, url, payload, headers: { authorization: `Bearer ${token}` } })
      assert.ok(answer.statusCode < 300, answer.body)
      return answer.json()
    }
  }

  const createMailbox = async (name: string) =>
    (await call('POST', '/v1/mailboxes', { address: `${name}@example.jp`, password })).id

  /** Tries to send, and tells whether the server took the responsibility (RFC 5321 §4.2.5). */
  async function offer(to: string, subject: string): Promise<boolean> {
    const dialogue = await openDialogue(servers.ports.smtp).catch(() => undefined)
    if (!dialogue) return false
    try {
      for (const line of ['EHLO client.example', `MAIL FROM:<${outsider}>`, `RCPT TO:<${to}>`, 'DATA'])
        if (!/^[23]/.test(await dialogue.say(line))) return false
      return (await dialogue.say(`Subject: ${subject}\r\n\r\nbody\r\n.`)).startsWith('250')
    } catch {
      return false // the server hung up
    } finally {
      dialogue.close()
    }
  }

  /** Offers messages one after another in several lanes, until told to stop; the subjects of those that were taken. */
  function offerMany(to: string, lanes: number) {
    const taken: string[] = []
    let going = true
    const running = Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        for (let i = 0; going; i += 1) {
          const subject = `message ${lane}.${i}.`
          if (await offer(to, subject)) taken.push(subject)
          else await sleep(50)
        }
      }),
    )
    return {
      taken,
      async stop() {
        going = false
        await running
      },
    }
  }

  async function assertDelivered(id: string, subjects: string[]): Promise<void> {
    const missing = async () => {
      const mails = (await readMaildir(servers, id)).join('\n')
      return subjects.filter((subject) => !mails.includes(`Subject: ${subject}`))
    }
    await eventually(
      async () => (await missing()).length === 0,
      `delivery of ${subjects.length} messages`,
      90_000, // a look-up that Dovecot 2.3 held when the database went away is given up after 60 s
    )
  }

  for (const [what, pattern] of [
    ['Dovecot', 'dovecot -F -c'],
    ['Postfix', 'master -c'],
  ] as const) {
    test(`a kill -9 of ${what} during delivery loses no message that was taken`, async () => {
      const name = what.toLowerCase()
      const id = await createMailbox(name)
      const sending = offerMany(`${name}@example.jp`, 4)
      endings.push(sending.stop)
      for (let round = 0; round < 3; round += 1) {
        const target = sending.taken.length + 10
        await eventually(() => sending.taken.length >= target, 'more messages', 30_000)
        process.kill(await eventually(() => findProcess(pattern), `a running ${what}`), 'SIGKILL')
      }
      const target = sending.taken.length + 10
      await eventually(() => sending.taken.length >= target, 'more messages', 30_000)
      await sending.stop()
      await assertDelivered(id, sending.taken)
    })
  }

  function findProcess(pattern: string): number {
    const lines = execFileSync('ps', ['-eo', 'pid,args'], { encoding: 'utf8' }).split('\n')
    const line = lines.find((one) => one.includes(`${pattern} ${dataDir}`))
    return Number.parseInt(line ?? '0', 10)
  }

  test('a hundred parallel deliveries to a mailbox that is locked and unlocked all arrive', async () => {
    const id = await createMailbox('busy')
    const flipping = new AbortController()
    const flips = (async () => {
      for (let locked = true; !flipping.signal.aborted; locked = !locked)
        await call('PATCH', '/v1/mailboxes/busy@example.jp', { locked })
    })()
    const { code, output } = await run('/usr/sbin/smtp-source', [
      ...['-m', '100', '-s', '20', '-f', outsider, '-t', 'busy@example.jp', '-l', '2000'],
      `127.0.0.1:${servers.ports.smtp}`,
    ])
    assert.equal(code, 0, output)
    await eventually(async () => (await readMaildir(servers, id)).length >= 100, 'a hundred messages', 60_000)
    flipping.abort()
    await flips
    assert.equal((await readMaildir(servers, id)).length, 100)
  })

  test('without the database mail is deferred and logins are told to come again; both recover by themselves', async (t) => {
    const id = await createMailbox('patient')
    const login = { user: 'patient@example.jp', password, mechanism: 'PLAIN' }
    assert.equal(await curlLogin(servers, 'pop3', login), 'ok')
    const sending = offerMany('patient@example.jp', 2)
    endings.push(sending.stop)
    await eventually(() => sending.taken.length > 5, 'messages')
    await postgres.stop()
    await sleep(1_000)
    const during = sending.taken.length

    const dialogue = await openDialogue(servers.ports.smtp)
    await dialogue.say('EHLO client.example')
    await dialogue.say(`MAIL FROM:<${outsider}>`)
    assert.match(await dialogue.say('RCPT TO:<patient@example.jp>'), /^451 4\.3\.[05] /)
    dialogue.close()
    // Dovecot 2.3 says so at once, or waits up to a minute for another connection; it never blames the password
    assert.doesNotMatch(await askPop3(login.user), /\[AUTH\]|Logged in/)
    assert.doesNotMatch(await askImap(login.user), /AUTHENTICATIONFAILED|Logged in/)
    await assertScramWaits(t)
    assert.ok(sending.taken.length - during <= 2, 'what was asked for before')

    postgres = await startPostgres()
    const since = Date.now()
    const after = sending.taken.length
    await eventually(() => sending.taken.length > after, 'mail after the database came back', 75_000)
    await eventually(async () => (await askPop3(login.user)).includes('+OK Logged in'), 'a login', 30_000)
    await eventually(
      () => gsaslLogin(servers, { ...login, user: 'patient', mechanism: 'SCRAM-SHA-256' }),
      'SCRAM',
      30_000,
    )
    assert.ok(Date.now() - since < 20_000, `${Date.now() - since} ms`)
    await sending.stop()
    await assertDelivered(id, sending.taken)
  })

  /** Dovecot 2.3.19 ends its auth process there (assertion in auth-request.c) and answers like a wrong password. */
  async function assertScramWaits(t: TestContext): Promise<void> {
    const login = { user: 'patient', password, mechanism: 'SCRAM-SHA-256' }
    const answer = await gsaslAnswer(servers, login, momentMs)
    const version = dovecotVersion()
    t.diagnostic(
      `Dovecot ${version.trim()} answers SCRAM-SHA-256 without the database: ${answer || 'not in time'}`,
    )
    const known = version.startsWith('2.3.')
      ? /^NO \[(UNAVAILABLE|AUTHENTICATIONFAILED)\]|^$/
      : /^NO \[UNAVAILABLE\]/
    assert.match(answer, known)
    if (!version.startsWith('2.3.')) {
      assert.match(await askPop3('patient@example.jp'), /-ERR \[SYS\/TEMP\]/)
      assert.match(await askImap('patient@example.jp'), /NO \[UNAVAILABLE\]/)
      assert.doesNotMatch(servers.logs(), /auth: (Panic|Fatal)/)
    }
  }

  const askPop3 = async (user: string) =>
    talk(servers.ports.pop3s, `USER ${user}\r\nPASS ${password}\r\nQUIT\r\n`)
  const askImap = async (user: string) =>
    talk(servers.ports.imaps, `a LOGIN ${user} ${password}\r\nb LOGOUT\r\n`)

  async function talk(port: number, lines: string): Promise<string> {
    return (await run('openssl', ['s_client', '-quiet', '-connect', `127.0.0.1:${port}`], lines, momentMs))
      .output
  }
})
