import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recordUses } from '../../src/tokens/uses.ts'
import { createClient } from '../support/client.ts'
import { until } from '../support/races.ts'
import { startReplica, startService } from '../support/service.ts'
import { makeToken } from '../support/tokens.ts'

const service = await startService()
const admin = await service.as()

async function lastUse(id: string): Promise<Date | null> {
  const { rows } = await service.admin.query('select last_used_at from app.tokens where id = $1', [id])
  return rows[0].last_used_at
}

async function rowVersion(id: string): Promise<string> {
  const { rows } = await service.admin.query('select xmin::text as version from app.tokens where id = $1', [
    id,
  ])
  return rows[0].version
}

test('uses are written together, the latest of each token, and none of them back', async () => {
  const errors: Error[] = []
  const uses = recordUses(service.db, (error) => void errors.push(error), 20)
  const { id } = await makeToken(service.url, admin)
  const { id: other } = await makeToken(service.url, admin)
  const before = Date.now()
  uses.note(id)
  await until(async () => (await lastUse(id)) !== null)
  assert.ok((await lastUse(id))!.getTime() >= before)
  assert.equal(await lastUse(other), null)
  await service.admin.query(`update app.tokens set last_used_at = now() + interval '1 hour' where id = $1`, [
    id,
  ])
  const version = await rowVersion(id)
  uses.note(id)
  await until(async () => (await rowVersion(id)) !== version)
  assert.ok((await lastUse(id))!.getTime() > Date.now() + 3_000_000)
  await uses.close()
  assert.deepEqual(errors, [])
})

test('what could not be written is written later', async () => {
  const errors: Error[] = []
  const uses = recordUses(service.db, (error) => void errors.push(error), 20)
  const { id } = await makeToken(service.url, admin)
  await service.admin.query('alter table app.tokens rename to away')
  uses.note(id)
  await until(() => errors.length > 0)
  await service.admin.query('alter table app.away rename to tokens')
  await until(async () => (await lastUse(id)) !== null)
  await uses.close()
})

test('replicas that write the same tokens at once do not wait for each other in a circle', async () => {
  const tokens = await Promise.all(Array.from({ length: 40 }, () => makeToken(service.url, admin)))
  const errors: Error[] = []
  const replicas = Array.from({ length: 4 }, () => recordUses(service.db, (error) => void errors.push(error)))
  for (const [i, uses] of replicas.entries())
    for (const { id } of i % 2 ? tokens : tokens.toReversed()) uses.note(id)
  await Promise.all(replicas.map((uses) => uses.close()))
  assert.deepEqual(errors, [])
})

// Last: it stops the service.
test('a request writes nothing; a stop writes what is known', async () => {
  const used = await makeToken(service.url, admin)
  const unused = await makeToken(service.url, admin)
  const there = createClient(await startReplica(service), used.client.token)
  const version = await rowVersion(used.id)
  for (let i = 0; i < 20; i++) for (const client of [used.client, there]) await client.get('/v1/domains')
  assert.equal(await rowVersion(used.id), version)
  const shown = await admin.get(`/v1/tokens/${used.id}`)
  assert.equal(shown.body.last_used_at, null)
  await service.app.close()
  assert.ok(Date.now() - (await lastUse(used.id))!.getTime() < 60_000)
  assert.equal(await lastUse(unused.id), null)
})
