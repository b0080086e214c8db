import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { csv, importFile, rowsOf } from '../support/imports.ts'
import { startService } from '../support/service.ts'

const service = await startService({ jobs: { dataDir: '/nonexistent' } })
const api = await service.as()
const bcrypt = '$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy'

before(async () => {
  for (const name of ['example.jp', 'other.jp']) await api.post('/v1/domains', { name })
})

test('creates what is not there, and leaves what is there as it is when the file is sent again', async () => {
  const file = csv(
    ['address', 'password_hash', 'display_name', 'quota_bytes'],
    [
      ['one@example.jp', bcrypt, 'One, "the first"', '5000'],
      ['Two@EXAMPLE.jp', '', 'Two', ''],
      ['three@none.jp', bcrypt, '', ''],
    ],
  )
  const first = await importFile(api, file)
  assert.equal(first.state, 'completed')
  assert.deepEqual([first.rows, first.rows_done, first.counts.created, first.counts.failed], [3, 3, 1, 2])
  const rows = await rowsOf(api, first.id)
  assert.deepEqual(
    rows.map(({ line, address, status, problem }) => [line, address, status, problem?.type]),
    [
      [2, 'one@example.jp', 'created', undefined],
      [3, 'two@example.jp', 'failed', '/problems/password-required'],
      [4, 'three@none.jp', 'failed', '/problems/unknown-domain'],
    ],
  )
  assert.deepEqual([rows[0].clear_text_username, rows[0].secure_password_username], ['one@example.jp', null])
  const made = await api.get('/v1/mailboxes/one@example.jp')
  assert.equal(made.body.quota_bytes, 5000)
  assert.equal(made.body.account.display_name, 'One, "the first"')
  const again = await importFile(api, file)
  assert.deepEqual([again.counts.unchanged, again.counts.failed], [1, 2])
  assert.equal((await api.get('/v1/mailboxes/one@example.jp')).etag, made.etag)
})

test('a file that is malformed changes nothing and says where', async () => {
  for (const [type, raw, pointer] of [
    ['text/csv', 'address\nx@example.jp,y\n', 'line/2'],
    ['text/csv', 'adress\nx@example.jp\n', 'line/1'],
    ['application/x-ndjson', '{"address":"fine@example.jp","no_password":true}\nnonsense\n', 'line/2'],
  ] as const) {
    const reply = await api.post('/v1/imports', undefined, { raw, headers: { 'content-type': type } })
    assert.equal(outcome(reply), '400 invalid-request')
    assert.equal(reply.body.errors[0].pointer, pointer)
  }
  assert.equal((await service.admin.query(`select from app.imports where state = 'receiving'`)).rowCount, 0)
  assert.equal(outcome(await api.get('/v1/mailboxes/fine@example.jp')), '404 mailbox-not-found')
})
