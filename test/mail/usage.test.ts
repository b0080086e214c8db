import assert from 'node:assert/strict'
import { chown } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { reconcileUsage } from '../../src/jobs/usage.ts'
import { openSession } from '../support/live-sessions.ts'
import { curlLogin, mpopFetch, run, send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, readMaildir, startMailSystem } from '../support/mail-servers.ts'

const password = 'MYSECRETPASSWORD'
const secondsMs = 5_000

const { service, servers, jobs } = await startMailSystem()
const admin = await service.as()

interface Usage {
  bytes: number
  messages: number
}

async function createMailbox(address: string): Promise<string> {
  const created = await admin.post('/v1/mailboxes', { address, password })
  assert.equal(created.status, 201)
  return created.body.id
}

async function readUsage(address: string): Promise<Usage> {
  const { body } = await admin.get(`/v1/mailboxes/${address}`)
  return { bytes: body.usage.bytes, messages: body.usage.messages }
}

/** What really lies there; sizes as clients see them, with CRLF. */
async function measure(id: string): Promise<Usage> {
  const mails = await readMaildir(servers, id)
  const bytes = mails.reduce((sum, mail) => sum + Buffer.byteLength(mail.replaceAll('\n', '\r\n')), 0)
  return { bytes, messages: mails.length }
}

/** Delivers with Postfix's own smtp-source, as many as told at the same time. */
async function deliver(address: string, count: number): Promise<void> {
  const { code, output } = await run('smtp-source', [
    ...['-s', String(count), '-m', String(count), '-l', '1500', '-M', 'client.example'],
    ...['-f', 'someone@elsewhere.example', '-t', address, `127.0.0.1:${servers.ports.smtp}`],
  ])
  assert.equal(code, 0, output)
}

const arrived = (id: string, count: number) =>
  eventually(async () => (await readMaildir(servers, id)).length === count, `the arrival of ${count}`)

/** Waits until the API shows what lies there. */
async function untilShown(address: string, id: string): Promise<Usage> {
  const real = await measure(id)
  const isShown = async () => {
    const shown = await readUsage(address)
    return shown.bytes === real.bytes && shown.messages === real.messages
  }
  await eventually(isShown, `the usage ${JSON.stringify(real)}`, secondsMs)
  return real
}

async function filled(address: string, count = 1): Promise<string> {
  const id = await createMailbox(address)
  await deliver(address, count)
  await arrived(id, count)
  await untilShown(address, id)
  return id
}

const clearText = (address: string) => ({ user: address, password, mechanism: 'PLAIN' })

describe('usage and last login', { skip: cannotServeMail }, () => {
  before(async () => {
    await admin.post('/v1/domains', { name: 'example.jp' })
  })

  test('of a mailbox that was never used are nothing', async () => {
    await createMailbox('never@example.jp')
    const { body } = await admin.get('/v1/mailboxes/never@example.jp')
    assert.deepEqual(body.usage, { bytes: 0, messages: 0, updated_at: null })
    assert.equal(body.last_login_at, null)
  })

  test('show a delivery within seconds, to whatever form of the address', async () => {
    const since = Date.now()
    const id = await createMailbox('shown@example.jp')
    for (const to of ['shown@example.jp', 'Shown+detail@EXAMPLE.jp'])
      assert.equal(await send(servers, { from: 'a@elsewhere.example', to }), '250')
    await arrived(id, 2)
    const usage = await untilShown('shown@example.jp', id)
    const { body } = await admin.get('/v1/mailboxes?domain=example.jp&prefix=shown')
    const { updated_at, ...listed } = body.items[0].usage
    assert.deepEqual(listed, usage)
    assert.ok(Date.parse(updated_at) >= since && Date.parse(updated_at) <= Date.now())
  })

  const logins: [name: string, login: (address: string) => Promise<unknown>][] = [
    ['clear', (address) => curlLogin(servers, 'imap', clearText(address))],
    ['clear.pop', (address) => curlLogin(servers, 'pop3', clearText(address))],
    [
      'secure',
      (address) => mpopFetch(servers, { user: address.split('@')[0]!, password, mechanism: 'SCRAM-SHA-256' }),
    ],
  ]
  for (const [name, login] of logins) {
    test(`show a login (${name}) within seconds, and no refused one`, async () => {
      const address = `${name}@example.jp`
      await createMailbox(address)
      const read = async () => (await admin.get(`/v1/mailboxes/${address}`)).body.last_login_at
      assert.equal(await curlLogin(servers, 'imap', { ...clearText(address), password: 'WRONG' }), 'refused')
      const since = Math.floor(Date.now() / 1000) * 1000 // it is told in whole seconds
      assert.equal(await read(), null)
      assert.notEqual(await login(address), undefined)
      const at = Date.parse(await eventually(read, 'the last login', secondsMs))
      assert.ok(at >= since && at <= Date.now())
    })
  }

  test('are exact under 20 deliveries at once', async () => {
    const id = await createMailbox('busy@example.jp')
    await deliver('busy@example.jp', 20)
    await arrived(id, 20)
    assert.equal((await untilShown('busy@example.jp', id)).messages, 20)
  })

  test('are exact after deletions by POP3 beside deliveries', async () => {
    const id = await filled('shrinking@example.jp', 3)
    const remove = async () => {
      const url = `pop3s://127.0.0.1:${servers.ports.pop3s}/1`
      const login = ['--user', `shrinking@example.jp:${password}`, '--login-options', 'AUTH=PLAIN']
      const { code, output } = await run('curl', ['-sSkI', '--url', url, ...login, '-X', 'DELE'])
      assert.equal(code, 0, output)
    }
    const deliveries = deliver('shrinking@example.jp', 20)
    for (let i = 0; i < 3; i += 1) await remove()
    await deliveries
    await arrived(id, 20)
    await untilShown('shrinking@example.jp', id)
  })

  test('are added up for the domain and the server', async () => {
    await admin.post('/v1/domains', { name: 'sum.jp' })
    const ids = [await filled('sum.one@sum.jp', 2), await filled('sum.two@sum.jp', 1)]
    const sums = (all: Usage[]) => ({
      messages: all.reduce((sum, one) => sum + one.messages, 0),
      bytes: all.reduce((sum, one) => sum + one.bytes, 0),
    })
    const statistics = async (path: string) => {
      const { mailboxes, messages, bytes } = (await admin.get(path)).body
      return { mailboxes, messages, bytes }
    }
    const ofServer = async () => {
      const { messages, bytes } = (await admin.get('/v1/server')).body.statistics
      return { messages, bytes }
    }
    const [one, two] = await Promise.all(ids.map(measure))
    assert.deepEqual(await statistics('/v1/domains/sum.jp/statistics'), {
      mailboxes: 2,
      ...sums([one!, two!]),
    })
    const { body } = await admin.get('/v1/mailboxes?limit=100')
    assert.deepEqual(await ofServer(), sums(body.items.map((item: { usage: Usage }) => item.usage)))

    const everything = await ofServer()
    await admin.delete('/v1/mailboxes/sum.two@sum.jp')
    assert.deepEqual(await statistics('/v1/domains/sum.jp/statistics'), { mailboxes: 1, ...one })
    const { bytes, messages } = two!
    assert.deepEqual(await ofServer(), {
      messages: everything.messages - messages,
      bytes: everything.bytes - bytes,
    })
  })
})

describe('a purge', { skip: cannotServeMail }, () => {
  const rowsOf = async (address: string) => {
    const { rows } = await service.admin.query(
      `select username from mail.usage where username = $1
       union all select username from mail.last_login where username = $1`,
      [address],
    )
    return rows.length
  }

  test('takes usage and last login along, also what an open session has still to tell', async () => {
    await admin.post('/v1/domains', { name: 'purge.jp' })
    await filled('purged@purge.jp', 3)
    const session = await openSession(servers, 'imap', { user: 'purged@purge.jp', password })
    await eventually(async () => (await rowsOf('purged@purge.jp')) === 2, 'both rows', secondsMs)
    // Dovecot tells this when the session ends
    assert.ok(await session.ask('b store 1 +flags (\\Deleted)\r\nc expunge\r\n', /^c OK /m))
    assert.equal((await admin.delete('/v1/mailboxes/purged@purge.jp?purge=true&account=delete')).status, 204)
    await session.ended
    await sleep(1_000)
    assert.equal(await rowsOf('purged@purge.jp'), 0)

    const id = await createMailbox('purged@purge.jp')
    const { body } = await admin.get('/v1/mailboxes/purged@purge.jp')
    assert.deepEqual(body.usage, { bytes: 0, messages: 0, updated_at: null })
    assert.equal(body.last_login_at, null)
    await deliver('purged@purge.jp', 1)
    await arrived(id, 1)
    assert.equal((await untilShown('purged@purge.jp', id)).messages, 1)
  })

  test('of the domain takes them along too', async () => {
    await admin.post('/v1/domains', { name: 'purge-all.jp' })
    await filled('someone@purge-all.jp')
    const purge = '/v1/domains/purge-all.jp?mailboxes=delete&expect=1&accounts=delete&purge=true'
    assert.equal((await admin.delete(purge)).status, 204)
    assert.equal(await rowsOf('someone@purge-all.jp'), 0)
  })
})

describe('the comparison of usage with the mailboxes', { skip: cannotServeMail }, () => {
  const reconcile = () => reconcileUsage(jobs, (text, values) => service.admin.query(text, values))

  /** Writes what no change of the mailbox has written, past the triggers. */
  async function falsify(address: string, { changed, checked }: { changed: string; checked: string | null }) {
    const client = await service.admin.connect()
    await client.query('set session_replication_role = replica')
    await client.query(
      `insert into mail.usage values ($1, 7, 99, now() - $2::interval, now() - $3::interval)
       on conflict (username) do update
       set (bytes, messages, updated_at, checked_at) =
         (excluded.bytes, excluded.messages, excluded.updated_at, excluded.checked_at)`,
      [address, changed, checked],
    )
    await client.query('reset session_replication_role')
    client.release()
  }
  const wrong = { bytes: 7, messages: 99 }

  before(async () => {
    await admin.post('/v1/domains', { name: 'drift.jp' })
  })

  test('mends what is wrong and looks no second time', async () => {
    const id = await filled('drifted@drift.jp', 2)
    await falsify('drifted@drift.jp', { changed: '1 minute', checked: null })
    assert.deepEqual(await readUsage('drifted@drift.jp'), wrong)
    await reconcile()
    assert.deepEqual(await readUsage('drifted@drift.jp'), await measure(id))
    await falsify('drifted@drift.jp', { changed: '1 hour', checked: '1 minute' })
    await reconcile()
    assert.deepEqual(await readUsage('drifted@drift.jp'), wrong)
  })

  test('mends once a day what bears no mark', async () => {
    const id = await filled('unmarked@drift.jp')
    await falsify('unmarked@drift.jp', { changed: '3 days', checked: '2 days' })
    await reconcile()
    assert.deepEqual(await readUsage('unmarked@drift.jp'), await measure(id))
  })

  test('leaves what changes at this moment for later', async () => {
    await filled('moving@drift.jp')
    await falsify('moving@drift.jp', { changed: '0 seconds', checked: null })
    await reconcile()
    assert.deepEqual(await readUsage('moving@drift.jp'), wrong)
  })

  test('removes the row of a mailbox that is no more', async () => {
    await falsify('nobody@drift.jp', { changed: '1 minute', checked: null })
    await reconcile()
    const { rows } = await service.admin.query(`select from mail.usage where username = 'nobody@drift.jp'`)
    assert.equal(rows.length, 0)
  })

  test('is done by the worker, also of a deleted mailbox', async () => {
    const id = await filled('worked@drift.jp')
    await admin.delete('/v1/mailboxes/worked@drift.jp')
    await falsify('worked@drift.jp', { changed: '1 minute', checked: null })
    await service.admin.query(`select graphile_worker.add_job('reconcile-usage')`)
    const real = await measure(id)
    const isMended = async () => {
      const { rows } = await service.admin.query(
        `select bytes::int, messages::int from mail.usage where username = 'worked@drift.jp'`,
      )
      return rows[0].bytes === real.bytes && rows[0].messages === real.messages
    }
    await eventually(isMended, 'the comparison', secondsMs)
  })

  test('goes on after a mailbox that cannot be counted, and says so', async () => {
    const broken = await filled('broken@drift.jp')
    const id = await filled('behind@drift.jp')
    const folder = join(servers.dataDir, 'mail', 'mail', broken.slice(0, 2), broken, 'Maildir')
    await chown(folder, 0, 0) // Dovecot reads as another user
    await falsify('broken@drift.jp', { changed: '2 minutes', checked: null })
    await falsify('behind@drift.jp', { changed: '1 minute', checked: null })
    await assert.rejects(reconcile(), /could not count 1 mailboxes/)
    assert.deepEqual(await readUsage('behind@drift.jp'), await measure(id))
    assert.deepEqual(await readUsage('broken@drift.jp'), wrong)
    await service.admin.query(`delete from mail.usage where username = 'broken@drift.jp'`)
  })
})
