import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { doveadm, doveadmEach, findDoveadm } from '../../src/jobs/doveadm.ts'
import type { Reply } from '../support/client.ts'
import { openSession, type Session } from '../support/live-sessions.ts'
import { curlLogin, type Dialogue, mpopFetch, openDialogue, send } from '../support/mail-clients.ts'
import {
  cannotServeMail,
  dovecotVersion,
  eventually,
  readMaildir,
  startMailSystem,
} from '../support/mail-servers.ts'

const password = 'MYSECRETPASSWORD'
const is24 = dovecotVersion().startsWith('2.4.')
const promptMs = 5_000 // a second or so, on a machine with other things to do

const { service, servers, jobs } = await startMailSystem()
const admin = await service.as()

async function createMailbox(address: string): Promise<string> {
  const created = await admin.post('/v1/mailboxes', { address, password })
  assert.equal(created.status, 201)
  return created.body.id
}

/** One by each protocol. */
const openBoth = (address: string, secret = password): Promise<Session[]> =>
  Promise.all(
    (['imap', 'pop3'] as const).map((protocol) =>
      openSession(servers, protocol, { user: address, password: secret }),
    ),
  )

const alive = (sessions: Session[]) => Promise.all(sessions.map((session) => session.isAlive()))

function close(sessions: Session[]): void {
  for (const session of sessions) session.close()
}

/** How long after `since` the last of them was ended. */
async function endOf(sessions: Session[], since: number): Promise<number> {
  const ends = Promise.all(sessions.map(({ ended }) => ended))
  const last = await Promise.race([ends, sleep(4 * promptMs, undefined, { ref: false })])
  assert.ok(last, 'the sessions go on')
  return Math.max(...last) - since
}

/** The clear-text login, the secure one, and submission. */
function tryLogins(address: string, secret = password) {
  const clear = { user: address, password: secret, mechanism: 'PLAIN' }
  const secure = { user: address.split('@')[0]!, password: secret, mechanism: 'SCRAM-SHA-256' }
  return Promise.all([
    curlLogin(servers, 'imap', clear),
    mpopFetch(servers, secure).then((mail) => (mail === undefined ? 'refused' : 'ok')),
    send(servers, { from: address, to: 'sink@example.jp', ...clear }),
  ])
}
const allWork = ['ok', 'ok', '250']

async function assertRefused(address: string, secret = password): Promise<void> {
  const [imap, pop3, submission] = await tryLogins(address, secret)
  assert.deepEqual([imap, pop3], ['refused', 'refused'])
  assert.match(submission ?? '', /^535 5\.7\.8 /)
}

describe('live sessions', { skip: cannotServeMail }, () => {
  const ofOthers: Session[] = []

  before(async () => {
    for (const name of ['example.jp', 'whole.jp', 'not-whole.jp', 'gone.jp'])
      await admin.post('/v1/domains', { name })
    await createMailbox('sink@example.jp')
    // a name that begins like another and a domain that ends like another are somebody else's
    for (const address of ['locked.too@example.jp', 'neighbour@not-whole.jp']) {
      await createMailbox(address)
      ofOthers.push(...(await openBoth(address)))
    }
  })
  after(() => close(ofOthers))

  const changes: [what: string, address: string, change: (address: string) => Promise<Reply>][] = [
    [
      'the lock of the mailbox',
      'locked@example.jp',
      (it) => admin.patch(`/v1/mailboxes/${it}`, { locked: true }),
    ],
    [
      'the lock of the domain',
      'someone@whole.jp',
      () => admin.patch('/v1/domains/whole.jp', { locked: true }),
    ],
    [
      'the end of the account',
      'disabled@example.jp',
      () => admin.patch('/v1/accounts/disabled', { disabled: true }),
    ],
    [
      'a new password',
      'changed@example.jp',
      () => admin.put('/v1/accounts/changed/password', { password: 'ANOTHERPASSWORD' }),
    ],
    ['a deletion', 'deleted@example.jp', (it) => admin.delete(`/v1/mailboxes/${it}`)],
    [
      'a new name',
      'renamed@example.jp',
      (it) => admin.post(`/v1/mailboxes/${it}/rename`, { address: 'called.otherwise@example.jp' }),
    ],
    ['a purge', 'purged@example.jp', (it) => admin.delete(`/v1/mailboxes/${it}?purge=true`)],
    [
      'the deletion of the domain',
      'someone2@gone.jp',
      () => admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1'),
    ],
  ]
  for (const [what, address, change] of changes) {
    test(`are ended by ${what}, and new logins refused at once`, async (t) => {
      await createMailbox(address)
      const sessions = await openBoth(address)
      t.after(() => close(sessions))
      assert.deepEqual(await alive(sessions), [true, true])

      const since = Date.now()
      const { status } = await change(address)
      assert.ok(status === 200 || status === 204)
      const refused = assertRefused(address)
      const ms = await endOf(sessions, since)
      await refused
      t.diagnostic(`ended after ${ms} ms`)
      assert.ok(ms < promptMs, `ended after ${ms} ms`)
      assert.deepEqual(await alive(ofOthers), [true, true, true, true])
    })
  }

  test('are ended when the time of the account is over, and not when it has got more', async (t) => {
    for (const name of ['leaver', 'stayer']) await createMailbox(`${name}@example.jp`)
    const [sessions, others] = await Promise.all(
      ['leaver', 'stayer'].map((it) => openBoth(`${it}@example.jp`)),
    )
    t.after(() => close([...sessions!, ...others!]))
    const moment = Date.now() + 6_000
    for (const name of ['leaver', 'stayer']) {
      const { status } = await admin.patch(`/v1/accounts/${name}`, { login_until: new Date(moment) })
      assert.equal(status, 200)
    }
    await admin.patch('/v1/accounts/stayer', { login_until: new Date(moment + 3_600_000) })
    assert.deepEqual(await alive([...sessions!, ...others!]), [true, true, true, true])
    const ms = await endOf(sessions!, moment)
    t.diagnostic(`ended after ${ms} ms`)
    assert.ok(ms >= 0 && ms < promptMs, `ended after ${ms} ms`)
    await assertRefused('leaver@example.jp')
    assert.deepEqual(await alive(others!), [true, true])
  })

  test('mail goes on to arrive during a lock and is there after it', async () => {
    const id = await createMailbox('kept@example.jp')
    await admin.patch('/v1/mailboxes/kept@example.jp', { locked: true })
    assert.equal(await send(servers, { from: 'a@elsewhere.example', to: 'kept@example.jp' }), '250')
    await eventually(async () => (await readMaildir(servers, id)).length === 1, 'the delivery')
    await assertRefused('kept@example.jp')
    await admin.patch('/v1/mailboxes/kept@example.jp', { locked: false })
    assert.deepEqual(await tryLogins('kept@example.jp'), allWork)
    const login = { user: 'kept', password, mechanism: 'SCRAM-SHA-256' }
    assert.match((await mpopFetch(servers, login)) ?? '', /^Subject: a test$/m)
  })

  test('a session of the new password goes on', async (t) => {
    await createMailbox('fresh@example.jp')
    await admin.put('/v1/accounts/fresh/password', { password: 'ANOTHERPASSWORD' })
    await eventually(async () => (await waitingJobs('fresh@example.jp')).length === 0, 'the end of the job')
    const sessions = await openBoth('fresh@example.jp', 'ANOTHERPASSWORD')
    t.after(() => close(sessions))
    assert.deepEqual(await alive(sessions), [true, true])
  })

  test('of submission find no sender that is theirs after a lock', async (t) => {
    for (const [address, path, lock] of [
      ['sender@example.jp', '/v1/mailboxes/sender@example.jp', { locked: true }],
      ['sender2@sending.jp', '/v1/domains/sending.jp', { locked: true }],
      ['sender3@example.jp', '/v1/accounts/sender3', { disabled: true }],
    ] as const) {
      await admin.post('/v1/domains', { name: address.split('@')[1] })
      await createMailbox(address)
      const dialogue = await openSubmission(address)
      t.after(() => dialogue.close())
      const trySending = async () => {
        assert.match(await dialogue.say(`MAIL FROM:<${address}>`), /^250 /)
        return dialogue.say('RCPT TO:<sink@example.jp>')
      }
      assert.match(await trySending(), /^250 /)
      assert.match(await dialogue.say('RSET'), /^250 /)
      await admin.patch(path, lock)
      assert.match(await trySending(), /^553 5\.7\.1 .*not owned by user/)
    }
  })

  test('a Dovecot that is stopped delays their end and fails no call', async (t) => {
    await createMailbox('later@example.jp')
    await createMailbox('unlocked@example.jp')
    const startAgain = await stopDovecot()
    t.after(startAgain)
    const addresses = ['later@example.jp', 'unlocked@example.jp']
    for (const address of addresses)
      assert.equal((await admin.patch(`/v1/mailboxes/${address}`, { locked: true })).status, 200)
    await admin.patch('/v1/mailboxes/unlocked@example.jp', { locked: false })
    const wereTried = async () => (await waitingJobs(...addresses)).every((job) => job.last_error !== null)
    await eventually(wereTried, 'a try of both jobs')
    const ids = (await waitingJobs(...addresses)).map((job) => job.id)
    const runAt = async (when: string) => {
      const reschedule = `select graphile_worker.reschedule_jobs($1::bigint[], run_at => ${when})`
      const isDone = async () => (await service.admin.query(reschedule, [ids])).rows.length === 2
      await eventually(isDone, 'a moment in which neither is tried')
    }
    await runAt(`now() + interval '1 hour'`) // so that there are sessions to end when it is their turn
    await startAgain()
    const attempt = () => openBoth('unlocked@example.jp').catch(() => undefined)
    const sessions = (await eventually(attempt, 'a login')) ?? []
    t.after(() => close(sessions))
    await runAt('now()')
    await endOf(sessions, Date.now())
    await eventually(async () => (await waitingJobs(...addresses)).length === 0, 'the end of the jobs')
    await assertRefused('later@example.jp')
  })
})

/** Logged in. */
async function openSubmission(address: string): Promise<Dialogue> {
  const dialogue = await openDialogue(servers.ports.submission)
  await dialogue.say('EHLO client.example')
  await dialogue.startTls()
  await dialogue.say('EHLO client.example')
  assert.match(await dialogue.say(`AUTH PLAIN ${btoa(`\0${address}\0${password}`)}`), /^235 /)
  return dialogue
}

async function waitingJobs(...addresses: string[]) {
  const { rows } = await service.admin.query<{ id: string; last_error: string | null }>(
    'select id, last_error from graphile_worker.jobs where key = any($1)',
    [addresses.flatMap((address) => [`end-sessions:${address}`, `end-sessions-again:${address}`])],
  )
  return rows
}

/** Stops Dovecot alone. Whoever keeps it running is held until it may run again. */
async function stopDovecot(): Promise<() => Promise<void>> {
  const pid = Number(readFileSync(join(servers.dataDir, 'mail', 'run', 'master.pid'), 'utf8'))
  servers.process.kill('SIGSTOP')
  process.kill(pid, 'SIGTERM')
  const place = await findDoveadm(jobs)
  const answers = () => fetch(place!.url).then(Boolean, () => false)
  await eventually(async () => !(await answers()), 'the end of Dovecot')
  return async () => {
    servers.process.kill('SIGCONT')
    await eventually(answers, 'the start of Dovecot')
  }
}

describe('the administration interface', { skip: cannotServeMail }, () => {
  const command = async (name: string, parameters: object, key?: string) => {
    const place = await findDoveadm(jobs)
    assert.ok(place)
    const response = await fetch(`${place.url}/doveadm/v1`, {
      method: 'POST',
      headers: { authorization: `X-Dovecot-API ${btoa(key ?? place.key)}` },
      body: JSON.stringify([[name, parameters, 'tag']]),
    })
    return { status: response.status, body: await response.text() }
  }

  test('does what the jobs need', async () => {
    await admin.post('/v1/domains', { name: 'watched.jp' })
    await createMailbox('watcher@watched.jp')
    const place = (await findDoveadm(jobs))!
    const user = 'watcher@watched.jp'
    const status = await doveadm(place, 'mailboxStatus', { user, field: ['messages'], mailboxMask: ['*'] })
    assert.ok(status.ok)
    const kicked = await doveadm(place, 'kick', { mask: [user] })
    // 2.3 calls it a failure that there is nobody, 2.4 counts
    assert.deepEqual(kicked, is24 ? { ok: true, result: [{ count: '0' }] } : { ok: false, exitCode: 68 })
  })

  test('ends the sessions of many in one request, also where the most are not logged in', async (t) => {
    await createMailbox('among@watched.jp')
    const sessions = await openBoth('among@watched.jp')
    t.after(() => close(sessions))
    const names = Array.from({ length: 100 }, (_, i) => (i === 50 ? 'among' : `nobody${i}`))
    const since = Date.now()
    const answers = await doveadmEach(
      (await findDoveadm(jobs))!,
      'kick',
      names.map((name) => ({ mask: [`${name}@watched.jp`] })),
    )
    t.diagnostic(`${names.length} kicks in ${Date.now() - since} ms`)
    assert.equal(answers.filter(({ ok }) => ok).length, is24 ? names.length : 1)
    await endOf(sessions, since)
  })

  const foreign: [name: string, parameters: object][] = [
    ['fetch', { user: 'watcher@watched.jp', field: ['text'], query: ['ALL'] }],
    ['fsGet', is24 ? { filterName: '', path: 'x' } : { fsDriver: 'posix', fsArgs: 'prefix=/', path: 'x' }],
    ['search', { user: 'watcher@watched.jp', query: ['ALL'] }],
    ['expunge', { user: 'watcher@watched.jp', query: ['ALL'] }],
    ['reload', {}],
    ['stop', {}],
  ]
  for (const [name, parameters] of foreign) {
    test(`does not do ${name}`, async () => {
      const { body } = await command(name, parameters)
      assert.match(body, /^\[\["error",\{"type":"unAuthorized"/)
    })
  }

  test('is not misunderstood when it refuses a command', async () => {
    const place = (await findDoveadm(jobs))!
    await assert.rejects(doveadm(place, 'reload', {}), /doveadm reload: unAuthorized/)
  })

  test('refuses a wrong key', async () => {
    const { status, body } = await command('kick', { mask: ['*'] }, 'a wrong key')
    assert.equal(status, 401)
    assert.equal(body.includes('doveadmResponse'), false)
    const place = { ...(await findDoveadm(jobs))!, key: 'a wrong key' }
    await assert.rejects(doveadm(place, 'kick', { mask: ['*'] }), /answers 401/)
  })

  test('listens on loopback, wherever the others do', async () => {
    const listening = readFileSync('/proc/net/tcp', 'utf8') + readFileSync('/proc/net/tcp6', 'utf8')
    const port = servers.ports.doveadm.toString(16).toUpperCase().padStart(4, '0')
    const addresses = listening.match(RegExp(`\\b[0-9A-F]+:${port} 0+:0000 0A`, 'g'))
    assert.deepEqual(addresses, [`0100007F:${port} 00000000:0000 0A`])
  })
})
