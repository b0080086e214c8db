import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import pino from 'pino'
import { openDatabase } from '../../src/database.ts'
import { removeMail } from '../../src/jobs/tasks.ts'
import { startWorker } from '../../src/jobs/worker.ts'
import { send } from '../support/mail-clients.ts'
import { cannotServeMail, eventually, startMailServers } from '../support/mail-servers.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const servers = await startMailServers(service)

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

describe('purging on the real servers', { skip: cannotServeMail }, () => {
  test('removes the folder of the mail, and doing it again is no failure', async () => {
    await admin.post('/v1/domains', { name: 'example.jp' })
    const address = 'leaver@example.jp'
    const { body } = await admin.post('/v1/mailboxes', { address, generate_password: true })
    const folder = join(servers.dataDir, 'mail', 'mail', body.id.slice(0, 2), body.id)
    assert.equal(await send(servers, { from: 'someone@elsewhere.example', to: address }), '250')
    await eventually(() => isThere(join(folder, 'Maildir')), 'delivery')

    const doveadm = { dataDir: servers.dataDir }
    assert.equal((await admin.delete(`/v1/mailboxes/${address}?purge=true`)).status, 204)
    const db = openDatabase(String(service.admin.options.connectionString))
    const worker = startWorker({
      databaseUrl: String(service.admin.options.connectionString),
      db,
      doveadm,
      log: pino({ level: 'silent' }),
    })
    try {
      await eventually(async () => !(await isThere(folder)), 'removal of the folder')
    } finally {
      await worker.stop()
      await db.destroy()
    }
    await removeMail(doveadm, { id: body.id, mask: address })
    assert.ok(await isThere(join(servers.dataDir, 'mail', 'mail')), 'only that folder went')
  })
})
