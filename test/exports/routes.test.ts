import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Client, outcome } from '../support/client.ts'
import { parseCsv } from '../support/csv.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const limited = await service.as({ domains: ['a.jp', 'absent.jp'] })

const lines = { headers: { accept: 'application/x-ndjson' } }
const table = { headers: { accept: 'text/csv' } }
const deceptive = 'Élan "山田", 花子\r\n=HYPERLINK("x")'

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['a.jp', 'b.jp']) await admin.post('/v1/domains', { name })
  const names = ['ada', 'bob', 'cat', 'f-y', 'f.x', 'f1', 'f_z']
  for (const [i, name] of names.entries()) {
    const account = { external_id: i % 2 === 0 ? 'even' : null, display_name: i === 0 ? '' : `No. ${i}, "x"` }
    const address = `${name}@${i % 2 === 0 ? 'a' : 'b'}.jp`
    await admin.post('/v1/mailboxes', { address, generate_password: true, account })
  }
  await admin.patch('/v1/mailboxes/bob@b.jp', { locked: true, forward_to: ['x@y.example', 'z@y.example'] })
  await admin.post('/v1/accounts', { name: 'alone', generate_password: true })
  await admin.post('/v1/mailboxes', { address: 'gone@a.jp', generate_password: true })
  await admin.delete('/v1/mailboxes/gone@a.jp')
  const targets = ['ada@a.jp', 'someone@far.example']
  for (const domain of ['a.jp', 'b.jp']) {
    await admin.post('/v1/aliases', { address: `info@${domain}`, targets, send_as: true })
    await admin.post('/v1/aliases', { address: `@${domain}`, targets, allow_role_name: true })
  }
  // nothing that the API takes, and what is in the table all the same has to be readable
  await service.admin.query(`update app.accounts set display_name = $1 where name = 'cat'`, [deceptive])
})

const parse = (text: string | undefined) =>
  (text ?? '')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

/** All pages of JSON, as the same caller sees them. */
async function readPages(caller: Client, path: string) {
  const items: Record<string, unknown>[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const url = new URL(path, service.url)
    url.searchParams.set('limit', '2')
    if (cursor !== '') url.searchParams.set('cursor', cursor)
    const { body } = await caller.get(`${url.pathname}${url.search}`)
    items.push(...body.items)
    cursor = body.next
  }
  return items
}

const paths = [
  ...[
    '',
    '?domain=a.jp',
    '?domain=absent.jp',
    '?prefix=F',
    '?prefix=f_',
    '?name=CAT',
    '?external_id=even',
  ].map((query) => `/v1/mailboxes${query}`),
  ...['?locked=true', '?locked=false', '?hold=true', '?state=deleted', '?domain=b.jp&prefix=f'].map(
    (query) => `/v1/mailboxes${query}`,
  ),
  '/v1/mailboxes?updated_since=2020-01-01T00:00:00Z',
  '/v1/mailboxes?updated_since=2999-01-01T00:00:00Z',
  ...['', '?prefix=f', '?external_id=even', '?external_id=even&prefix=c'].map(
    (query) => `/v1/accounts${query}`,
  ),
  ...['', '?domain=b.jp', '?prefix=i', '?target=ada@a.jp'].map((query) => `/v1/aliases${query}`),
]
for (const path of paths) {
  test(`${path} has the same in lines, in a table and on pages`, async () => {
    for (const caller of [admin, limited, await service.as({ domains: [] })]) {
      const items = await readPages(caller, path)
      const asLines = await caller.get(path, lines)
      assert.equal(asLines.headers.get('content-type'), 'application/x-ndjson')
      assert.deepEqual(parse(asLines.body), items)
      const rows = parseCsv((await caller.get(path, table)).body)
      const key = path.startsWith('/v1/accounts') ? 'name' : 'address'
      assert.deepEqual(
        rows.map((row) => row[key]),
        items.map((item) => item[key]),
      )
    }
  })
}

test('the filters above are not all empty', async () => {
  const found = await Promise.all(paths.map((path) => readPages(admin, path)))
  assert.ok(found.filter((items) => items.length > 0).length > 15)
})

describe('a table', () => {
  test('names its columns, in UTF-8, as a file', async () => {
    const { headers, body } = await admin.get('/v1/mailboxes', table)
    assert.equal(headers.get('content-type'), 'text/csv; charset=utf-8; header=present')
    assert.equal(headers.get('content-disposition'), 'attachment; filename="mailboxes.csv"')
    assert.match(body, /^id,address,name,domain,state,display_name,external_id,[^\r\n]*\r\n/)
    const empty = await admin.get('/v1/accounts?prefix=nobody', table)
    assert.equal(empty.body.split('\r\n')[0].split(',')[0], 'name')
    assert.deepEqual(parseCsv(empty.body), [])
  })

  test('gives every value back as it is', async () => {
    const items = await readPages(admin, '/v1/mailboxes')
    const rows = parseCsv((await admin.get('/v1/mailboxes', table)).body)
    const cat = rows.find(({ name }) => name === 'cat')
    assert.equal(cat?.display_name, deceptive)
    const bob = rows.find(({ name }) => name === 'bob')
    const item = items.find(({ name }) => name === 'bob')
    assert.deepEqual(
      [bob?.forward_to, bob?.locked, bob?.login_blocked_by, bob?.quota_bytes, bob?.usage_bytes],
      ['x@y.example z@y.example', 'true', 'mailbox', '', '0'],
    )
    assert.deepEqual([bob?.id, bob?.created_at], [item?.id, item?.created_at])
    assert.equal(bob?.display_name, 'No. 1, "x"')
    const accounts = parseCsv((await admin.get('/v1/accounts', table)).body)
    assert.equal(accounts.find(({ name }) => name === 'cat')?.display_name, deceptive)
    assert.equal(accounts.find(({ name }) => name === 'alone')?.mailbox, '')
  })
})

const lists = ['/v1/mailboxes', '/v1/accounts', '/v1/aliases']
for (const path of lists) {
  describe(path, () => {
    test('refuses media types that it has not', async () => {
      const reply = await admin.get(path, { headers: { accept: 'application/xml, text/html' } })
      assert.equal(outcome(reply), '406 not-acceptable')
      assert.equal(outcome(await admin.get(path, { headers: { accept: 'text/html, */*;q=0.1' } })), '200')
    })

    test('has no pages of a whole list', async () => {
      for (const parameter of ['limit', 'cursor']) {
        const reply = await admin.get(`${path}?${parameter}=1`, lines)
        assert.equal(outcome(reply), '400 invalid-request')
        assert.equal(reply.body.errors[0].pointer, `query/${parameter}`)
      }
    })

    test('is refused to who may not read it, whatever it is to be', async () => {
      const nobody = await service.as({ scopes: ['server:read'] })
      for (const options of [lines, table]) {
        assert.equal(outcome(await nobody.get(path, options)), '403 insufficient-scope')
      }
    })

    test('answers HEAD without reading a row', async () => {
      const headers = { ...table.headers, authorization: `Bearer ${admin.token}` }
      const reply = await fetch(new URL(path, service.url), { method: 'HEAD', headers })
      assert.deepEqual([reply.status, await reply.text()], [200, ''])
      assert.match(reply.headers.get('content-type') ?? '', /^text\/csv/)
      assert.equal(reply.headers.get('vary'), 'accept')
    })
  })
}

test('as-of of a whole list is where a poll goes on', async () => {
  const asOf = (await admin.get('/v1/mailboxes', lines)).headers.get('as-of') ?? ''
  assert.ok(Math.abs(Date.parse(asOf) - Date.now()) < 60_000)
  const { body } = await admin.patch('/v1/mailboxes/f1@b.jp', { quota_bytes: 7 })
  const changed = await admin.get(`/v1/mailboxes?updated_since=${encodeURIComponent(asOf)}`, lines)
  assert.deepEqual(
    parse(changed.body).find(({ name }) => name === 'f1'),
    body,
  )
})

test('a fault before the first row is a problem like any other', async () => {
  await service.admin.query('alter table mail.usage rename to gone_usage')
  const reply = await admin.get('/v1/mailboxes', lines)
  await service.admin.query('alter table mail.gone_usage rename to usage')
  assert.equal(outcome(reply), '500 internal-error')
  assert.equal(outcome(await admin.get('/v1/mailboxes', lines)), '200')
})
