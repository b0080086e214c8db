import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pg from 'pg'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { scopes } from '../../src/scopes.ts'
import { createClient } from '../support/client.ts'
import { startExternalPostgres } from '../support/external-postgres.ts'
import { startProcess, temporaryFolder } from '../support/process.ts'

/** Stands where Dovecot's administration interface is, and answers when the test lets it. */
async function startInterface(t: TestContext, dataDir: string) {
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const server = createServer(async (request, response) => {
    const [[, , tag]] = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString())
    asked.resolve()
    await answer.promise
    response.end(JSON.stringify([['doveadmResponse', [], tag]]))
  })
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await writeFile(join(dataDir, 'doveadm-url'), `http://127.0.0.1:${port}\n`)
  await writeFile(join(dataDir, 'doveadm-key'), 'a key of this test\n')
  await writeFile(join(dataDir, 'doveadm-mail-dir'), '/srv/mail\n')
  return { asked: asked.promise, answer: answer.resolve }
}

async function until(happened: () => Promise<boolean>, what: () => string) {
  for (const end = Date.now() + 60_000; !(await happened()); ) {
    assert.ok(Date.now() < end, what())
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('a job that ends while Postgres is away ends neither the service nor itself', async (t) => {
  const postgres = await startExternalPostgres(t)
  const dataDir = await temporaryFolder(t)
  const dovecot = await startInterface(t, dataDir)
  const env = { DATABASE_URL: postgres.serviceUrl, MIGRATION_DATABASE_URL: postgres.ownerUrl }
  const service = await startProcess(t, { dataDir, env })
  const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
  const token = await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 3600 })
  const client = createClient(service.url, token)
  await client.post('/v1/domains', { name: 'example.jp' })
  await client.post('/v1/mailboxes', { address: 'user05@example.jp', generate_password: true })
  assert.equal((await client.patch('/v1/mailboxes/user05@example.jp', { locked: true })).status, 200)

  await dovecot.asked
  await postgres.stop()
  dovecot.answer()
  await until(async () => service.output().includes('the job worker is started again'), service.output)
  assert.equal((await client.get('/livez')).status, 200)

  await postgres.start()
  const jobs = async () => {
    const admin = new pg.Client(postgres.ownerUrl)
    await admin.connect()
    try {
      return (await admin.query("select from graphile_worker.jobs where task_identifier = 'end-sessions'"))
        .rowCount
    } finally {
      await admin.end()
    }
  }
  await until(async () => (await jobs()) === 0, service.output)
  assert.equal((await client.get('/v1/mailboxes/user05@example.jp')).status, 200)
})
