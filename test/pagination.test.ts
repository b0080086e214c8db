import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { parseCursor, toPage } from '../src/pagination.ts'
import { outcome, type Reply } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const admin = await service.as()
const size = 25

type Item = { name: string }
type Kind = 'domains' | 'accounts' | 'mailboxes'

/** Straight into the tables: as many as a page test needs would cost a password each. */
async function insert(kind: Kind, names: string[]): Promise<void> {
  if (kind === 'domains')
    await service.admin.query('insert into app.domains (name) select unnest($1::text[])', [names])
  else
    await service.admin.query(
      `insert into app.accounts (name, authentication, external_id) select n, 'local', 'page' from unnest($1::text[]) as n`,
      [names],
    )
  if (kind !== 'mailboxes') return
  await service.admin.query(
    `with x as (
       insert into app.addresses (name, domain, kind, holds_name)
       select n, 'page' || (i % 2) || '.jp', 'mailbox', true
       from unnest($1::text[]) with ordinality as t (n, i) returning name, domain
     ) insert into app.mailboxes (name, domain) select name, domain from x`,
    [names],
  )
}

const lists: [Kind, string, (n: string) => string][] = [
  ['domains', '/v1/domains?prefix=d-', (n) => `d-${n}.jp`],
  ['accounts', '/v1/accounts?prefix=a-&external_id=page', (n) => `a-${n}`],
  ['mailboxes', '/v1/mailboxes?prefix=m-&locked=false', (n) => `m-${n}`],
]

const numbers = Array.from({ length: size }, (_, i) => String(i * 10 + 100))

before(async () => {
  await insert('domains', ['page0.jp', 'page1.jp'])
  for (const [kind, , name] of lists) await insert(kind, numbers.map(name))
})

async function remove(kind: Kind, names: string[]): Promise<void> {
  for (const table of kind === 'mailboxes' ? ['mailboxes', 'addresses', 'accounts'] : [kind])
    await service.admin.query(`delete from app.${table} where name = any ($1)`, [names])
}

/** Follows `next` to the end, and lets something happen before each page but the first. */
async function follow(path: string, limit: number, meanwhile = async (_last: string) => {}) {
  const pages: Reply[] = []
  for (let next: string | null = null; pages.length === 0 || next !== null; ) {
    if (next !== null) await meanwhile(pages.at(-1)?.body.items.at(-1).name)
    const page = await admin.get(`${path}&limit=${limit}${next === null ? '' : `&cursor=${next}`}`)
    assert.equal(page.status, 200)
    pages.push(page)
    next = page.body.next
  }
  return pages
}
const namesOf = (pages: Reply[]) => pages.flatMap(({ body }) => body.items.map((item: Item) => item.name))

for (const [kind, path, name] of lists) {
  describe(`the list of ${kind}`, () => {
    for (const limit of [1, 7, size - 1, size, size + 1, 1000]) {
      test(`is complete on pages of ${limit}`, async () => {
        const pages = await follow(path, limit)
        assert.deepEqual(namesOf(pages), numbers.map(name))
        assert.equal(pages.length, Math.ceil(size / limit))
        for (const page of pages.slice(0, -1)) assert.equal(page.body.items.length, limit)
      })
    }

    test('gives each row once while others are added', async () => {
      const [behind, ahead]: [string[], string[]] = [[], []]
      const pages = await follow(path, 4, async (last) => {
        const at = numbers.findIndex((n) => name(n) >= last)
        const fresh = [at - 2, at + 2].flatMap((i) =>
          numbers[i] ? [name(`${numbers[i]}5${behind.length}`)] : [],
        )
        await insert(kind, fresh)
        for (const one of fresh) (one > last ? ahead : behind).push(one)
      })
      assert.deepEqual(namesOf(pages), [...numbers.map(name), ...ahead].sort())
      assert.ok(ahead.length > 3 && behind.length > 3)
      await remove(kind, [...ahead, ...behind])
    })

    test('goes on where it was although the row of the cursor is gone', async () => {
      const extra = name(`${numbers[2]}0`)
      await insert(kind, [extra])
      const { body } = await admin.get(`${path}&limit=4`)
      assert.equal(body.items.at(-1).name, extra)
      await remove(kind, [extra])
      const after = await admin.get(`${path}&limit=1&cursor=${body.next}`)
      assert.equal(after.body.items[0].name, name(numbers[3]!))
    })

    test('repeats next as a link that keeps the filters and the limit', async () => {
      const first = await admin.get(`${path}&limit=10`)
      const link = /^<(\/v1\/[^>]+)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
      const asked = new URL(`${path}&limit=10&cursor=${first.body.next}`, 'http://host')
      const given = new URL(link, 'http://host')
      assert.equal(given.pathname, asked.pathname)
      assert.deepEqual([...given.searchParams].sort(), [...asked.searchParams].sort())
      const second = await admin.get(link)
      assert.deepEqual(
        second.body.items.map((item: Item) => item.name),
        numbers.slice(10, 20).map(name),
      )
      const third = await admin.get(/<([^>]+)>/.exec(second.headers.get('link') ?? '')?.[1] ?? '')
      assert.equal(third.body.next, null)
      assert.equal(third.headers.get('link'), null)
    })

    test('bounds the limit', async () => {
      for (const limit of ['0', '1001', '-1', '1.5', '', 'ten', '1e99', '2147483648']) {
        const refused = await admin.get(`${path}&limit=${limit}`)
        assert.equal(outcome(refused), '400 invalid-request', limit)
        assert.equal(refused.body.errors[0].pointer, 'query/limit')
      }
      assert.equal((await admin.get(`${path}&limit=1`)).body.items.length, 1)
      assert.equal((await admin.get(`${path}&limit=1000`)).status, 200)
    })

    test('refuses a cursor that it did not give', async () => {
      const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
      const { next } = (await admin.get(`${path}&limit=1`)).body
      const others = ['null', '[]', '{}', '{"after":5}', '{"after":"a\\u0000"}', '{"after":"a","asOf":"x"}']
      const encoded = [...others, 'x'].map((text) => Buffer.from(text).toString('base64url'))
      for (const cursor of ['', 'x', '%00', next.slice(0, -3), ...encoded, encode('a'), 'x'.repeat(1025)]) {
        const refused = await admin.get(`${path}&cursor=${cursor}`)
        assert.equal(outcome(refused), '400 invalid-request', cursor)
        assert.equal(refused.body.errors[0].pointer, 'query/cursor')
      }
    })
  })
}

test('100 is the limit where none is said', async () => {
  await insert(
    'domains',
    Array.from({ length: 101 }, (_, i) => `e-${i}.jp`),
  )
  const { body } = await admin.get('/v1/domains?prefix=e-')
  assert.equal(body.items.length, 100)
  assert.notEqual(body.next, null)
})

test('the longest names make cursors that are taken back', async () => {
  const label = 'e'.repeat(61)
  const long = [0, 1].map((i) => `${i}z${`${label}.`.repeat(3)}${'f'.repeat(61)}.jp`)
  await insert('domains', long)
  const [first, second] = await follow(`/v1/domains?state=active`, 1000)
  assert.equal(second, undefined)
  assert.ok(first?.body.items.some((item: Item) => item.name === long[1]))
  const page = await admin.get('/v1/domains?limit=1')
  assert.equal(page.body.items[0].name, long[0])
  assert.equal((await admin.get(`/v1/domains?limit=1&cursor=${page.body.next}`)).body.items[0].name, long[1])
})

test('a cursor carries the position and nothing else', () => {
  const { next } = toPage(['a', 'b', 'c'], 2, (row) => row, '2026-11-24T08:00:00.000Z')
  assert.deepEqual(parseCursor(next ?? ''), { after: 'b', asOf: '2026-11-24T08:00:00.000Z' })
  assert.equal(parseCursor(undefined), undefined)
})
