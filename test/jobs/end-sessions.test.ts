import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { importFile, ndjson } from '../support/imports.ts'
import { freePort } from '../support/process.ts'
import { startService } from '../support/service.ts'

const dataDir = await mkdtemp(join(tmpdir(), 'mailwright-test-'))
const service = await startService({ jobs: { dataDir } })
const admin = await service.as()
const port = await freePort()
const key = 'a key of this test'

/** Stands where Dovecot's administration interface will be, and writes down what it is told. */
class Interface {
  commands: string[] = []
  /** When the first of each came, by `performance.now()`. */
  first = new Map<string, number>()
  last = new Map<string, number>()
  requests = 0
  /** Whom it fails for, once each. */
  failing = new Set<string>()
  /** Milliseconds until it answers. */
  slow = 0
  server: Server | undefined

  async open() {
    const server = createServer(async (request, response) => {
      const body: [string, { mask?: string[]; path?: string[] }, string][] = JSON.parse(
        Buffer.concat(await Array.fromAsync(request)).toString(),
      )
      assert.equal(request.headers.authorization, `X-Dovecot-API ${Buffer.from(key).toString('base64')}`)
      this.requests += 1
      await sleep(this.slow)
      const answers = body.map(([command, { mask, path }, tag]) => {
        this.note(`${command} ${mask ?? path}`)
        if (this.failing.delete(String(mask))) return ['error', { type: 'exitCode', exitCode: 75 }, tag]
        // what Dovecot 2.3 answers where nobody is logged in, and where there is no such folder
        return ['error', { type: 'exitCode', exitCode: command === 'kick' ? 68 : 75 }, tag]
      })
      response.end(JSON.stringify(answers))
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.server = server
  }

  note(command: string) {
    this.commands.push(command)
    if (!this.first.has(command)) this.first.set(command, performance.now())
    this.last.set(command, performance.now())
  }

  async close() {
    this.server?.closeAllConnections()
    this.server?.close()
    await once(this.server!, 'close')
  }

  async told(command: string, times = 1) {
    const until = Date.now() + 20_000
    while (this.count(command) < times) {
      assert.ok(Date.now() < until, `not told "${command}" ${times} times, but: ${this.commands}`)
      await sleep(20)
    }
  }

  count(command: string) {
    return this.commands.filter((one) => one === command).length
  }
}

const dovecot = new Interface()

before(async () => {
  await writeFile(join(dataDir, 'doveadm-url'), `http://127.0.0.1:${port}\n`)
  await writeFile(join(dataDir, 'doveadm-key'), `${key}\n`)
  await writeFile(join(dataDir, 'doveadm-mail-dir'), '/srv/mail\n')
  await dovecot.open()
  await admin.post('/v1/domains', { name: 'example.jp' })
})

after(async () => {
  await dovecot.close()
  await rm(dataDir, { recursive: true })
})

async function mailbox(name: string): Promise<string> {
  const { status } = await admin.post('/v1/mailboxes', {
    address: `${name}@example.jp`,
    generate_password: true,
  })
  assert.equal(status, 201)
  return `/v1/mailboxes/${name}@example.jp`
}

test('a lock, a disabled account, a new password and a deletion end the sessions', async () => {
  const path = await mailbox('locked')
  await admin.patch(path, { locked: true })
  await dovecot.told('kick locked@example.jp')

  await mailbox('disabled')
  await admin.patch('/v1/accounts/disabled', { disabled: true })
  await dovecot.told('kick disabled@example.jp')

  await mailbox('changed')
  await admin.put('/v1/accounts/changed/password', { password: 'correct horse battery' })
  await dovecot.told('kick changed@example.jp')

  await admin.delete(await mailbox('deleted'))
  await dovecot.told('kick deleted@example.jp')

  const purged = await mailbox('purged')
  const { id } = (await admin.get(purged)).body
  await admin.delete(`${purged}?purge=true`)
  await dovecot.told('kick purged@example.jp')
  await dovecot.told(`fsDelete ${id.slice(0, 2)}/${id}`)
})

test('they are ended twice, since a login may have been on its way', async () => {
  await admin.patch(await mailbox('twice'), { locked: true })
  const kick = 'kick twice@example.jp'
  await dovecot.told(kick, 2)
  assert.ok(dovecot.last.get(kick)! - dovecot.first.get(kick)! > 900)
})

const addresses = Array.from({ length: 1200 }, (_, i) => `m${i}@example.jp`)
const rows = (operation: string) =>
  ndjson(
    addresses.map((address) => ({
      operation,
      address,
      ...(operation === 'create' && { no_password: true }),
    })),
  )

test('thousands that are locked or deleted together are told in few requests', async () => {
  await importFile(admin, rows('create'))
  for (const operation of ['lock', 'delete']) {
    dovecot.commands = []
    dovecot.requests = 0
    const { counts } = await importFile(admin, rows(operation))
    assert.equal(counts.failed, 0)
    for (const address of addresses) await dovecot.told(`kick ${address}`, 2)
    assert.ok(dovecot.requests < 40, `${dovecot.requests} requests`)
  }
})

test('one of many that cannot be ended keeps none of the others, and is tried again', async () => {
  const some = ['one', 'two', 'three'].map((name) => `${name}@example.jp`)
  const file = (operation: string, more: object = {}) =>
    ndjson(some.map((address) => ({ operation, address, ...more })))
  await importFile(admin, file('create', { no_password: true }))
  dovecot.failing.add('one@example.jp')
  await importFile(admin, file('lock'))
  await dovecot.told('kick three@example.jp')
  for (const address of some) await dovecot.told(`kick ${address}`, 3)
  const left = async () =>
    (await service.admin.query(`select from graphile_worker.jobs where task_identifier like 'end-sessions%'`))
      .rowCount
  for (const until = Date.now() + 20_000; (await left()) !== 0; await sleep(20)) assert.ok(Date.now() < until)
})

test('an import does not wait for a Dovecot that is slow', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `slow${i}`)
  const paths = await Promise.all(names.map(mailbox))
  dovecot.slow = 2_000
  for (const path of paths) await admin.patch(path, { locked: true })
  await importFile(admin, ndjson([{ address: 'soon@example.jp', no_password: true }]))
  const told = names.filter((name) => dovecot.count(`kick ${name}@example.jp`) > 0)
  assert.ok(told.length < names.length, 'all of them came before it')
  dovecot.slow = 0
  for (const name of names) await dovecot.told(`kick ${name}@example.jp`)
})

test('the lock and the deletion of a domain end the sessions of all of it', async () => {
  await admin.post('/v1/domains', { name: 'whole.jp' })
  await admin.patch('/v1/domains/whole.jp', { locked: true })
  await dovecot.told('kick *@whole.jp')

  await admin.post('/v1/domains', { name: 'gone.jp' })
  await admin.post('/v1/mailboxes', { address: 'someone@gone.jp', generate_password: true })
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
  await dovecot.told('kick *@gone.jp')
})

test('what takes no login away ends no session', async () => {
  const path = await mailbox('quiet')
  await admin.patch(path, { quota_bytes: 1000 })
  await admin.patch(path, { locked: false })
  await admin.patch('/v1/accounts/quiet', { display_name: 'Quiet' })
  await admin.patch('/v1/domains/example.jp', { mailbox_limit: 100 })
  const written = await service.admin.query(`select from graphile_worker.jobs where key like '%quiet%'`)
  assert.equal(written.rows.length, 0)
  assert.ok(!dovecot.commands.some((command) => command.includes('quiet')))
})

test('an interface that is down delays the job and does not fail the call', async () => {
  const path = await mailbox('delayed')
  await dovecot.close()
  assert.equal((await admin.patch(path, { locked: true })).status, 200)
  const failed = async () => {
    const { rows } = await service.admin.query(
      `select attempts, last_error from graphile_worker.jobs where key = 'end-sessions:delayed@example.jp'`,
    )
    return rows[0]?.last_error != null
  }
  const until = Date.now() + 20_000
  while (!(await failed())) {
    assert.ok(Date.now() < until, 'the job was not tried')
    await sleep(50)
  }
  await dovecot.open()
  await dovecot.told('kick delayed@example.jp')
})
