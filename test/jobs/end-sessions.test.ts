import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
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
  server: Server | undefined

  async open() {
    const server = createServer(async (request, response) => {
      const body = JSON.parse(String(await Array.fromAsync(request).then((chunks) => Buffer.concat(chunks))))
      assert.equal(request.headers.authorization, `X-Dovecot-API ${Buffer.from(key).toString('base64')}`)
      const [[command, parameters, tag]] = body
      this.commands.push(`${command} ${parameters.mask ?? parameters.path}`)
      // what Dovecot 2.3 answers where nobody is logged in, and where there is no such folder
      const exitCode = command === 'kick' ? 68 : 75
      response.end(JSON.stringify([['error', { type: 'exitCode', exitCode }, tag]]))
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.server = server
  }

  async close() {
    this.server?.closeAllConnections()
    this.server?.close()
    await once(this.server!, 'close')
  }

  async told(command: string) {
    const until = Date.now() + 20_000
    while (!this.commands.includes(command)) {
      assert.ok(Date.now() < until, `never told "${command}", but: ${this.commands}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
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
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await dovecot.open()
  await dovecot.told('kick delayed@example.jp')
})
