import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  createClient,
  createDomain,
  createMailbox,
  items,
  listAuditEvents,
  listMailboxes,
} from '../../clients/typescript/src/index.ts'
import { startFaultyProxy } from '../support/faulty-proxy.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const proxy = await startFaultyProxy(service.url)
const client = createClient({ url: `${proxy.url}/`, token: await service.token() })
const domain = 'items.example'
const names = Array.from({ length: 250 }, (_, i) => `p${String(i).padStart(3, '0')}`)
await createDomain({ client, body: { name: domain } })
await createDomain({ client, body: { name: 'empty.example' } })
for (let i = 0; i < names.length; i += 10) {
  const create = (name: string) =>
    createMailbox({ client, body: { address: `${name}@${domain}`, no_password: true } })
  await Promise.all(names.slice(i, i + 10).map(create))
}

async function read(query: { domain: string; limit?: number; prefix?: string }): Promise<string[]> {
  const found: string[] = []
  proxy.seen.length = 0
  for await (const { name } of items(listMailboxes, { client, query })) found.push(name)
  return found
}

test('all items of a list, each once and in order, whatever the size of the pages', async () => {
  assert.deepEqual(await read({ domain }), names)
  assert.equal(proxy.seen.length, 3)
  assert.deepEqual(await read({ domain, limit: 7 }), names)
  assert.equal(proxy.seen.length, 36)
})

test('the filter holds on every page', async () => {
  const expected = names.filter((name) => name.startsWith('p1'))
  assert.deepEqual(await read({ domain, prefix: 'p1', limit: 30 }), expected)
  assert.equal(proxy.seen.length, 4)
})

test('a list without items', async () => {
  assert.deepEqual(await read({ domain: 'empty.example' }), [])
})

test('a page is asked for when its first item is', async () => {
  proxy.seen.length = 0
  let count = 0
  for await (const { name } of items(listMailboxes, { client, query: { domain, limit: 10 } })) {
    if (name === names[12]) break
    count++
  }
  assert.deepEqual([count, proxy.seen.length], [12, 2])
})

test('other lists, and no query at all', async () => {
  const found = new Set<string>()
  for await (const { action, object } of items(listAuditEvents, { client }))
    if (action === 'mailbox.create') found.add(object)
  assert.equal(found.size, names.length)
})

test('a refusal ends it', async () => {
  const none = createClient({ url: proxy.url, token: await service.token({ scopes: [] }) })
  await assert.rejects(items(listMailboxes, { client: none }).next(), { code: 'insufficient-scope' })
})
