import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { purgeExpired } from '../../src/jobs/expired.ts'
import { removeMail } from '../../src/jobs/tasks.ts'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

before(() => admin.post('/v1/domains', { name: 'example.jp' }))

async function create(address: string): Promise<{ path: string; id: string }> {
  const { status, body } = await admin.post('/v1/mailboxes', { address, generate_password: true })
  assert.equal(status, 201)
  return { path: `/v1/mailboxes/${address}`, id: body.id }
}

/** The jobs that remove the mail of a mailbox, with what they are told. */
async function removals(id: string): Promise<{ mask: string; later: boolean }[]> {
  const { rows } = await service.admin.query(
    `select j.payload->>'mask' as mask, j.run_at > now() + interval '5 minutes' as later
     from graphile_worker._private_jobs as j join graphile_worker._private_tasks as t on t.id = j.task_id
     where t.identifier = 'remove-mail' and j.payload->>'id' = $1 order by later`,
    [id],
  )
  return rows
}

const expire = (address: string) =>
  service.admin.query(
    `update app.mailboxes set purge_at = now() - interval '1 second' where name || '@' || domain = $1`,
    [address],
  )

test('what is purged leaves the jobs that remove its mail, now and once more', async () => {
  const { path, id } = await create('purged@example.jp')
  await admin.delete(path)
  assert.deepEqual(await removals(id), [])
  await admin.delete(`${path}?purge=true`)
  const mask = 'purged@example.jp'
  assert.deepEqual(await removals(id), [
    { mask, later: false },
    { mask, later: true },
  ])
})

test('a purged domain leaves them for each of its mailboxes, deleted ones too', async () => {
  await admin.post('/v1/domains', { name: 'gone.jp' })
  const ids = [await create('gone1@gone.jp'), await create('gone2@gone.jp')].map(({ id }) => id)
  await admin.delete('/v1/mailboxes/gone1@gone.jp')
  await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1&purge=true&accounts=delete')
  for (const id of ids) assert.equal((await removals(id)).length, 2)
})

test('deleted mailboxes are purged when their time is over, and not before', async () => {
  const due = await create('due@example.jp')
  const waiting = await create('waiting@example.jp')
  const alive = await create('alive@example.jp')
  await admin.delete(`${due.path}?account=delete`)
  await admin.delete(waiting.path)
  await expire('due@example.jp')
  await purgeExpired(service.db)
  assert.equal((await removals(due.id)).length, 2)
  assert.equal(outcome(await admin.get('/v1/accounts/due')), '404 account-not-found')
  assert.notEqual((await create('due@example.jp')).id, due.id)
  assert.equal(
    outcome(await admin.post('/v1/mailboxes', { address: 'waiting@example.jp', generate_password: true })),
    '409 mailbox-deleted',
  )
  assert.equal((await admin.get(alive.path)).status, 200)
  await assertInvariants(service.admin)
})

test('a deleted domain goes with the last of its mailboxes', async () => {
  await admin.post('/v1/domains', { name: 'last.jp' })
  for (const name of ['last1', 'last2']) await create(`${name}@last.jp`)
  await admin.delete('/v1/domains/last.jp?mailboxes=delete&expect=2')
  await expire('last1@last.jp')
  await purgeExpired(service.db)
  assert.equal(outcome(await admin.post('/v1/domains', { name: 'last.jp' })), '409 domain-deleted')
  await expire('last2@last.jp')
  await Promise.all([purgeExpired(service.db), purgeExpired(service.db)])
  assert.equal(outcome(await admin.post('/v1/domains', { name: 'last.jp' })), '201')
  await assertInvariants(service.admin)
})

test('no other path than the folder of a mailbox is ever asked to be removed', async () => {
  const { rows } = await service.admin.query('select gen_random_uuid()::text as id')
  const config = {
    dataDir: '/nonexistent',
    doveadmUrl: 'http://127.0.0.1:9',
    doveadmKeyFile: import.meta.filename,
  }
  for (const id of ['', '/', '..', '../..', `${rows[0].id}/..`, '5f/5f0c1d2e'])
    await assert.rejects(
      removeMail({ ...config, doveadmMailDir: '/srv/mail' }, { id, mask: 'user@example.jp' }),
      /not the folder of a mailbox/,
    )
})
