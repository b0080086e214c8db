import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { openDialogue, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { type Credentials, openSession, tryPop3 } from '../support/mail-sessions.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'
const outsider = 'someone@elsewhere.example'

const service = await startService() // and no job worker
const admin = await service.as()
const servers = await startMailServers(service)

async function createMailbox(address: string, values: object = {}): Promise<string> {
  const created = await admin.post('/v1/mailboxes', { address, password, ...values })
  assert.equal(outcome(created), '201')
  return created.body.id
}

async function change(address: string, values: object): Promise<void> {
  assert.equal(outcome(await admin.patch(`/v1/mailboxes/${address}`, values)), '200')
}

const subjects = async (id: string) =>
  (await readMaildir(servers, id)).map((mail) => /^Subject: (.*)$/m.exec(mail)?.[1])

const count = (what: RegExp) => servers.logs().match(what)?.length ?? 0
// logged before the client is told that the message is taken
const begun = () => count(/postfix\/cleanup\[\d+\]: \w+: message-id=/g)
const ended = () => count(/postfix\/qmgr\[\d+\]: \w+: removed$/gm)

/** What each mailbox has of this message, once Postfix has nothing left to do. */
async function deliver(to: string, subject: string, ids: string[]): Promise<number[]> {
  await eventually(() => begun() === ended(), 'the end of what was sent before')
  const before = begun()
  assert.equal(await send(servers, { from: outsider, to, subject }), '250')
  await eventually(() => begun() > before && begun() === ended(), `the end of the delivery of ${subject}`)
  const all = await Promise.all(ids.map(subjects))
  return all.map((mails) => mails.filter((one) => one === subject).length)
}

describe('mail of leavers', { skip: cannotServeMail }, () => {
  before(async () => {
    await admin.patch('/v1/server', { scram_iterations: 4096 })
    await admin.post('/v1/domains', { name: 'example.jp' })
  })

  test('is sent on with and without a copy', async () => {
    const boss = await createMailbox('boss@example.jp')
    const deputy = await createMailbox('deputy@example.jp')
    const leaver = await createMailbox('leaver@example.jp')
    const ids = [leaver, boss, deputy]
    const to = 'leaver@example.jp'
    assert.deepEqual(await deliver(to, 'before', ids), [1, 0, 0])
    await change(to, { forward_to: ['boss@example.jp', 'deputy+leaver@example.jp'] })
    assert.deepEqual(await deliver(to, 'with a copy', ids), [1, 1, 1])
    assert.deepEqual(await deliver('leaver+shop@example.jp', 'with a detail', ids), [1, 1, 1])
    await change(to, { keep_copy: false })
    assert.deepEqual(await deliver(to, 'without a copy', ids), [0, 1, 1])
    const [mail = ''] = (await readMaildir(servers, boss)).filter((one) => one.includes('without a copy'))
    assert.match(mail, /^Return-Path: <someone@elsewhere\.example>/m, 'the sender is as it was')
    await change(to, { forward_to: null })
    assert.deepEqual(await deliver(to, 'after', ids), [1, 0, 0])
  })

  test('comes once to each of two that are sent on to each other, and is never lost', async () => {
    const one = await createMailbox('one@example.jp')
    const two = await createMailbox('two@example.jp', { forward_to: ['one@example.jp'] })
    await change('one@example.jp', { forward_to: ['two@example.jp'] })
    assert.deepEqual(await deliver('one@example.jp', 'mutual', [one, two]), [1, 1])
    assert.deepEqual(await deliver('two+x@example.jp', 'mutual with a detail', [one, two]), [1, 1])
    await change('one@example.jp', { keep_copy: false })
    assert.deepEqual(await deliver('one@example.jp', 'half', [one, two]), [0, 1])
    await change('two@example.jp', { keep_copy: false })
    assert.deepEqual(await deliver('one@example.jp', 'no copy', [one, two]), [1, 0])
    assert.doesNotMatch(servers.logs(), /unreasonable|nesting/)
  })

  test('goes on to others while the mailbox itself is full', async () => {
    const full = await createMailbox('full@example.jp', { quota_bytes: 1_000 })
    const heir = await createMailbox('heir@example.jp')
    const propose = async () => {
      const dialogue = await openDialogue(servers.ports.smtp)
      await dialogue.say('EHLO client.example')
      await dialogue.say(`MAIL FROM:<${outsider}> SIZE=2000`)
      const answer = await dialogue.say('RCPT TO:<full@example.jp>')
      dialogue.close()
      return answer
    }
    assert.match(await propose(), /^552 5\.2\.2 /)
    await change('full@example.jp', { forward_to: ['heir@example.jp'], keep_copy: false })
    assert.match(await propose(), /^250 /)
    assert.deepEqual(await deliver('full@example.jp', 'sent on', [full, heir]), [0, 1])
  })

  test('is refused at RCPT where the mailbox takes none, also from who has logged in, and taken again', async () => {
    const id = await createMailbox('shut@example.jp', { forward_to: ['boss@example.jp'] })
    await createMailbox('writer@example.jp')
    await change('shut@example.jp', { delivery: 'refuse' })
    const writer = { user: 'writer@example.jp', password, from: 'writer@example.jp' }
    for (const to of ['shut@example.jp', 'Shut+detail@example.jp'])
      for (const mail of [
        { from: outsider, to },
        { ...writer, to },
      ])
        assert.match(await send(servers, mail), /^550 5\.2\.1 .*takes no mail/)
    assert.match(
      await send(servers, { from: outsider, to: 'shut@elsewhere.example' }),
      /^554 5\.7\.1 .*Relay access denied/,
      'what is not ours is refused as before',
    )
    assert.deepEqual(await subjects(id), [])
    const own = { from: 'shut@example.jp', to: 'writer@example.jp', user: 'shut@example.jp', password }
    assert.equal(await send(servers, own), '250', 'it may still log in and write')
    await change('shut@example.jp', { delivery: 'accept', forward_to: null })
    assert.deepEqual(await deliver('shut@example.jp', 'again', [id]), [1])
  })

  test('is left to those who take it', async () => {
    const closed = await createMailbox('closed@example.jp', { delivery: 'refuse' })
    const id = await createMailbox('split@example.jp', { forward_to: ['closed@example.jp'] })
    assert.deepEqual(await deliver('split@example.jp', 'kept', [id, closed]), [1, 0])
    await change('split@example.jp', { keep_copy: false })
    assert.deepEqual(await deliver('split@example.jp', 'nowhere else', [id, closed]), [1, 0])
  })

  test('goes outside with the sender that it has', async () => {
    await createMailbox('away@example.jp', { forward_to: ['away@faraway.example'], keep_copy: false })
    assert.equal(await send(servers, { from: outsider, to: 'away@example.jp' }), '250')
    const sent = () =>
      /postfix\/smtp\[\d+\]: (\w+): to=<away@faraway\.example>, orig_to=<away@example\.jp>/.exec(
        servers.logs(),
      )
    const queueId = (await eventually(sent, 'a try to send it on'))?.[1]
    assert.match(servers.logs(), new RegExp(`${queueId}: from=<someone@elsewhere\\.example>`))
  })
})

describe('logins, while the service is stopped', { skip: cannotServeMail }, () => {
  interface Attempt {
    began: number
    ended: number
    accepted: boolean
  }

  const login = async (name: string, mechanism: Credentials['mechanism']): Promise<boolean> => {
    const session = await openSession(servers.ports.pop3s)
    const user = mechanism === 'PLAIN' ? `${name}@example.jp` : name
    return tryPop3(session, { mechanism, user, password }).finally(session.close)
  }

  async function attempt(name: string, mechanism: Credentials['mechanism']): Promise<Attempt> {
    const began = Date.now()
    const accepted = await login(name, mechanism)
    return { began, ended: Date.now(), accepted }
  }

  /** Both logins again and again, until some time after the moment. */
  async function tryAround(name: string, moment: number): Promise<Attempt[]> {
    const attempts: Attempt[] = []
    while (Date.now() < moment + 1_000)
      attempts.push(...(await Promise.all([attempt(name, 'PLAIN'), attempt(name, 'SCRAM-SHA-256')])))
    return attempts
  }

  function assertFlips(attempts: Attempt[], moment: number, { before: expected }: { before: boolean }): void {
    const early = attempts.filter(({ ended }) => ended < moment)
    const late = attempts.filter(({ began }) => began >= moment)
    assert.ok(early.length > 0 && late.length > 0)
    for (const { accepted } of early) assert.equal(accepted, expected)
    for (const { accepted } of late) assert.equal(accepted, !expected)
  }

  /** The clock of the database, which is the one that counts, is the one of this machine. */
  const inMs = (ms: number) => new Date(Date.now() + ms)

  test('end and begin at the very moment, and an open session sends no more', async (t) => {
    for (const name of ['going', 'coming']) await createMailbox(`${name}@example.jp`)
    const submission = await openDialogue(servers.ports.submission)
    t.after(() => submission.close())
    await submission.say('EHLO client.example')
    await submission.startTls()
    await submission.say('EHLO client.example')
    assert.match(await submission.say(`AUTH PLAIN ${btoa(`\0going@example.jp\0${password}`)}`), /^235 /)
    const trySending = async () => {
      assert.match(await submission.say('MAIL FROM:<going@example.jp>'), /^250 /)
      const answer = await submission.say('RCPT TO:<boss@example.jp>')
      await submission.say('RSET')
      return answer
    }
    const moment = inMs(8_000)
    assert.equal(outcome(await admin.patch('/v1/accounts/going', { login_until: moment })), '200')
    assert.equal(outcome(await admin.patch('/v1/accounts/coming', { login_from: moment })), '200')
    assert.match(await trySending(), /^250 /)
    await service.app.close()

    const [going, coming] = await Promise.all(
      ['going', 'coming'].map((name) => tryAround(name, moment.getTime())),
    )
    assertFlips(going!, moment.getTime(), { before: true })
    assertFlips(coming!, moment.getTime(), { before: false })
    assert.match(await trySending(), /^553 5\.7\.1 .*not owned by user/)
    assert.equal(await send(servers, { from: outsider, to: 'going@example.jp' }), '250', 'mail still arrives')
  })
})
