import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { openSession } from '../support/live-sessions.ts'
import { type Dialogue, openDialogue, run } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const password = 'MYSECRETPASSWORD'
const outsider = 'sender@outside.jp' // has a mailbox here, so that a bounce would be seen
const full = /^552 5\.2\.2 .*Mailbox is full/
const quota = 10_000

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

async function createMailbox(address: string, members: object = {}): Promise<string> {
  const created = await admin.post('/v1/mailboxes', { address, password, ...members })
  assert.equal(created.status, 201)
  return created.body.id
}

/** A mail up to the answer at RCPT, its size declared or not. */
async function propose(to: string, size?: number): Promise<{ answer: string; dialogue: Dialogue }> {
  const dialogue = await openDialogue(servers.ports.smtp)
  await dialogue.say('EHLO client.example')
  const declared = size === undefined ? '' : ` SIZE=${size}`
  assert.match(await dialogue.say(`MAIL FROM:<${outsider}>${declared}`), /^250 /)
  return { answer: await dialogue.say(`RCPT TO:<${to}>`), dialogue }
}

async function answerAt(to: string, size?: number): Promise<string> {
  const { answer, dialogue } = await propose(to, size)
  dialogue.close()
  return answer
}

/** The rest of it, whose size nobody has declared. */
async function transmit(dialogue: Dialogue, size: number): Promise<void> {
  assert.match(await dialogue.say('DATA'), /^354 /)
  const lines = `${'x'.repeat(98)}\r\n`.repeat(size / 100)
  assert.match(await dialogue.say(`Subject: large\r\n\r\n${lines}.`), /^250 2\.0\.0 Ok: queued/)
  dialogue.close()
}

async function slipIn(to: string, size: number): Promise<void> {
  const { answer, dialogue } = await propose(to)
  assert.match(answer, /^250 /)
  await transmit(dialogue, size)
}

/** The recipients of what waits in Postfix's queue, with the reason. */
async function waiting(address: string): Promise<string[]> {
  const { output } = await run('postqueue', ['-c', join(servers.dataDir, 'mail', 'etc'), '-j'])
  const queue = output.split('\n').filter((line) => line.startsWith('{'))
  return queue
    .flatMap((line) => JSON.parse(line).recipients)
    .filter((recipient) => recipient.address === address && recipient.delay_reason)
    .map((recipient) => recipient.delay_reason)
}

const counts = async (id: string) => (await readMaildir(servers, id)).length

describe('a quota', { skip: cannotServeMail }, () => {
  let senderId: string

  before(async () => {
    for (const [name, default_quota_bytes] of [
      ['outside.jp', 0],
      ['own.jp', 0],
      ['domain.jp', quota],
      ['server.jp', null],
    ] as const)
      await admin.post('/v1/domains', { name, default_quota_bytes })
    await admin.patch('/v1/server', { default_quota_bytes: quota })
    senderId = await createMailbox(outsider)
  })

  const levels: [of: string, address: string, members: object][] = [
    ['the mailbox', 'own@own.jp', { quota_bytes: quota }],
    ['the domain', 'user@domain.jp', {}],
    ['the server', 'other@server.jp', {}],
    ['the mailbox before the domain', 'more@domain.jp', { quota_bytes: quota + 1 }],
  ]
  for (const [of, address, members] of levels) {
    test(`of ${of} refuses a declared size that does not fit, and a full mailbox anything`, async () => {
      const id = await createMailbox(address, members)
      const detailed = address.replace('@', '+detail@')
      const fits = 'quota_bytes' in members ? Number(members.quota_bytes) : quota
      for (const to of [address, detailed]) {
        assert.match(await answerAt(to, fits), /^250 /, to)
        assert.match(await answerAt(to, fits + 1), full, to)
      }
      await slipIn(address, 2 * quota)
      await eventually(async () => (await counts(id)) === 1, 'the delivery')
      for (const to of [address, detailed]) {
        assert.match(await answerAt(to), full, to)
        assert.match(await answerAt(to, 1), full, to)
      }
    })
  }

  test('of 0 is none', async () => {
    await createMailbox('unlimited@domain.jp', { quota_bytes: 0 })
    assert.match(await answerAt('unlimited@domain.jp', 1_000_000), /^250 /)
    await createMailbox('unlimited2@own.jp')
    assert.match(await answerAt('unlimited2@own.jp', 1_000_000), /^250 /)
  })

  test('counts at once where it is changed', async () => {
    const id = await createMailbox('changed@own.jp', { quota_bytes: quota })
    await slipIn('changed@own.jp', quota)
    await eventually(async () => (await counts(id)) === 1, 'the delivery')
    assert.match(await answerAt('changed@own.jp'), full)
    await admin.patch('/v1/mailboxes/changed@own.jp', { quota_bytes: 10 * quota })
    assert.match(await answerAt('changed@own.jp'), /^250 /)
    await admin.patch('/v1/mailboxes/changed@own.jp', { quota_bytes: null })
    assert.match(await answerAt('changed@own.jp', 100 * quota), /^250 /)
    await admin.patch('/v1/domains/own.jp', { default_quota_bytes: quota })
    assert.match(await answerAt('changed@own.jp'), full)
    await admin.patch('/v1/domains/own.jp', { default_quota_bytes: 0 })
    assert.match(await answerAt('changed@own.jp'), /^250 /)
  })

  test('defers what slips through beside other mail, and lets it in when it is raised', async () => {
    const id = await createMailbox('crowded@own.jp', { quota_bytes: quota })
    const mails = await Promise.all(Array.from({ length: 4 }, () => propose('crowded@own.jp')))
    for (const { answer } of mails) assert.match(answer, /^250 /)
    await Promise.all(mails.map(({ dialogue }) => transmit(dialogue, 8_000)))
    // the second one still came to a mailbox that was not full
    await eventually(async () => (await waiting('crowded@own.jp')).length === 2, 'two in the queue')
    assert.equal(await counts(id), 2)
    for (const reason of await waiting('crowded@own.jp')) assert.match(reason, /452 4\.2\.2 .*[Qq]uota/)
    assert.match(await answerAt('crowded@own.jp'), full)

    await admin.patch('/v1/mailboxes/crowded@own.jp', { quota_bytes: 10 * quota })
    await eventually(async () => (await counts(id)) === 4, 'the delivery of all')
    assert.deepEqual(await waiting('crowded@own.jp'), [])
  })

  test('defers mail for a full postmaster, who is asked by another address', async () => {
    const id = await createMailbox('boss@own.jp', { quota_bytes: quota })
    await admin.patch('/v1/domains/own.jp', { postmaster_address: 'boss@own.jp' })
    await slipIn('boss@own.jp', 2 * quota)
    await eventually(async () => (await counts(id)) === 1, 'the delivery')
    await slipIn('postmaster@own.jp', 1_000)
    await eventually(async () => (await waiting('boss@own.jp')).length === 1, 'one in the queue')
  })

  test('refuses what a mail program puts into a full mailbox', async (t) => {
    await createMailbox('author@own.jp', { quota_bytes: quota })
    const session = await openSession(servers, 'imap', { user: 'author@own.jp', password })
    t.after(() => session.close())
    const append = (size: number) => `c append Drafts {${size}+}\r\n${'x'.repeat(size)}\r\n`
    assert.ok(await session.ask(append(quota + 1), /^c NO \[OVERQUOTA\] /m))
    assert.ok(await session.ask(append(quota), /^c OK /m))
    assert.ok(await session.ask(append(1), /^c NO \[OVERQUOTA\] /m))
  })

  test('has sent nothing back to the sender', async () => {
    assert.equal(await counts(senderId), 0)
    assert.doesNotMatch(servers.logs(), /status=bounced/)
  })
})
