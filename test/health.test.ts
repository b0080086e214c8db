import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { buildApp } from '../src/app.ts'
import { openDatabase } from '../src/database.ts'
import { createClient, outcome } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const probe = createClient(service.url, '')

test('is alive and ready, for anyone who asks', async () => {
  for (const path of ['/livez', '/readyz']) {
    const reply = await probe.get(path)
    assert.deepEqual([outcome(reply), reply.body], ['200', { status: 'ok' }], path)
  }
})

test('is not ready while a migration is missing, and ready again with it', async () => {
  const { rows } = await service.admin.query('delete from app.migrations returning name, timestamp')
  const reply = await probe.get('/readyz')
  assert.equal(outcome(reply), '503 unavailable')
  assert.equal(reply.headers.get('retry-after'), '5')
  assert.equal(reply.body.detail, `The database lacks ${rows.length} migrations.`)
  assert.equal(outcome(await probe.get('/livez')), '200')
  for (const { name, timestamp } of rows) {
    await service.admin.query('insert into app.migrations (name, timestamp) values ($1, $2)', [
      name,
      timestamp,
    ])
  }
  assert.equal(outcome(await probe.get('/readyz')), '200')
})

test('is ready with a migration that only a newer version of the service knows', async () => {
  const name = '9999_of_the_next_version'
  await service.admin.query(`insert into app.migrations (name, timestamp) values ($1, '')`, [name])
  assert.equal(outcome(await probe.get('/readyz')), '200')
  await service.admin.query('delete from app.migrations where name = $1', [name])
})

test('is not ready in a database without the schema', async () => {
  await service.admin.query('alter table app.migrations rename to gone')
  assert.equal(outcome(await probe.get('/readyz')), '503 unavailable')
  await service.admin.query('alter table app.gone rename to migrations')
})

test('without its database it is alive, and not ready', async () => {
  const db = openDatabase('postgres://127.0.0.1:1/nothing') // nothing listens on port 1 (RFC 6335: tcpmux)
  const app = await buildApp({
    db,
    derivations: service.derivations,
    auth: { keys: service.keys, domainsClaim: 'mailwright_domains' },
  })
  after(async () => {
    await app.close()
    await db.destroy()
  })
  const lonely = createClient(await app.listen({ port: 0, host: '127.0.0.1' }), '')
  assert.equal(outcome(await lonely.get('/livez')), '200')
  const reply = await lonely.get('/readyz')
  assert.equal(outcome(reply), '503 unavailable')
  assert.match(reply.headers.get('retry-after') ?? '', /^\d+$/)
})

test('is ready again by itself when its connections were cut', async () => {
  assert.equal(outcome(await probe.get('/readyz')), '200')
  await service.admin.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and application_name = 'mailwright'`,
  )
  const replies = [await probe.get('/readyz'), await probe.get('/readyz')]
  assert.equal(outcome(replies[1]!), '200')
})
