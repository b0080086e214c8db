import assert from 'node:assert/strict'
import { test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

async function fill(domain: string, count: number): Promise<void> {
  await admin.post('/v1/domains', { name: domain })
  for (const statement of [
    `insert into app.accounts (name, authentication) select 'f' || i || '-' || $2, 'local' from generate_series(1, $1::int) as i where $3 <> ''`,
    `insert into app.addresses (name, domain, kind, holds_name) select 'f' || i || '-' || $2, $3, 'mailbox', true from generate_series(1, $1::int) as i`,
    `insert into app.mailboxes (name, domain) select 'f' || i || '-' || $2, $3 from generate_series(1, $1::int) as i`,
    `insert into mail.usage (username, bytes, messages) select 'f' || i || '-' || $2 || '@' || $3, 10, 2 from generate_series(1, $1::int) as i`,
  ])
    await service.admin.query(statement, [count, domain.replace('.', '-'), domain])
}

test('add up what the mailboxes of a domain hold', async () => {
  await fill('small.jp', 3)
  const { as_of, ...counts } = (await admin.get('/v1/domains/small.jp/statistics')).body
  assert.deepEqual(counts, { mailboxes: 3, messages: 6, bytes: 30 })
  assert.ok(Math.abs(Date.parse(as_of) - Date.now()) < 60_000)
  await admin.delete('/v1/mailboxes/f1-small-jp@small.jp')
  assert.equal((await admin.get('/v1/domains/small.jp/statistics')).body.mailboxes, 2)
})

test('of a large domain may be a minute old, but not for a domain that is gone', async () => {
  await fill('large.jp', 1_200)
  const first = await admin.get('/v1/domains/large.jp/statistics')
  assert.equal(first.body.mailboxes, 1_200)
  await admin.delete('/v1/mailboxes/f1-large-jp@large.jp')
  assert.deepEqual((await admin.get('/v1/domains/large.jp/statistics')).body, first.body)
  await admin.delete('/v1/domains/large.jp?mailboxes=delete&expect=1199')
  assert.equal(outcome(await admin.get('/v1/domains/large.jp/statistics')), '404 domain-not-found')
})

test('of one that is made anew are its own', async () => {
  await fill('anew.jp', 1_200)
  const read = async () => [
    (await admin.get('/v1/domains/anew.jp/statistics')).body.mailboxes,
    (await admin.get('/v1/domains?prefix=anew')).body.items[0].mailbox_count,
  ]
  assert.deepEqual(await read(), [1_200, 1_200])
  await admin.delete('/v1/domains/anew.jp?mailboxes=delete&expect=1200&accounts=delete&purge=true')
  await admin.post('/v1/domains', { name: 'anew.jp' })
  assert.deepEqual(await read(), [0, 0])
})

test('are for those who may see the domain', async () => {
  const limited = await service.as({ domains: ['other.jp'] })
  assert.equal(outcome(await limited.get('/v1/domains/small.jp/statistics')), '404 domain-not-found')
})
