import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient, outcome } from '../support/client.ts'
import { csv, importFile, ndjson, postImport, rowsOf, untilDone } from '../support/imports.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService({ jobs: { dataDir: '/nonexistent' }, limits: { nameTaken: 20 } })
const api = await service.as()

before(async () => {
  for (const name of ['example.jp', 'other.jp', 'small.jp']) await api.post('/v1/domains', { name })
  await api.patch('/v1/domains/small.jp', { mailbox_limit: 2 })
})

const statuses = async (id: string) =>
  (await rowsOf(api, id)).map(({ status, problem }) => (problem ? problem.type.slice(10) : status))

test('every operation, in the order of the file, and unchanged when it is sent again', async () => {
  const file = ndjson([
    { operation: 'create', address: 'a@example.jp', no_password: true, account: { external_id: '1' } },
    { address: 'b@example.jp', password: 'a password of b, long enough' },
    { operation: 'lock', address: 'a@example.jp' },
    { operation: 'set', address: 'b@example.jp', quota_bytes: 7, display_name: 'B' },
    { operation: 'set', address: 'a@example.jp', quota_bytes: 8 },
    { operation: 'unlock', address: 'a@example.jp' },
    { operation: 'rename', address: 'b@example.jp', new_address: 'c@other.jp' },
    { operation: 'delete', address: 'a@example.jp' },
    { operation: 'restore', address: 'a@example.jp' },
    { operation: 'lock', address: 'nobody@example.jp' },
    { operation: 'lock', address: 'a@example.jp', quota_bytes: 3 },
    { operation: 'destroy', address: 'a@example.jp' },
    { address: 'd@example.jp', forward_to: ['a@example.jp'], no_password: true },
  ])
  const { id, counts } = await importFile(api, file)
  const refused = ['mailbox-not-found', 'invalid-request', 'invalid-request']
  assert.deepEqual(await statuses(id), [
    ...['created', 'created', 'updated', 'updated', 'updated', 'updated', 'renamed', 'deleted', 'restored'],
    ...refused,
    'created',
  ])
  assert.deepEqual(counts, {
    created: 3,
    updated: 4,
    unchanged: 0,
    deleted: 1,
    restored: 1,
    renamed: 1,
    failed: 3,
  })
  const renamed = (await rowsOf(api, id))[6]
  assert.deepEqual(
    [renamed.address, renamed.clear_text_username, renamed.secure_password_username],
    ['c@other.jp', 'c@other.jp', 'c'],
  )
  const { body: c } = await api.get('/v1/mailboxes/c@other.jp')
  assert.deepEqual([c.quota_bytes, c.account.display_name, c.locked], [7, 'B', false])
  await assertInvariants(service.admin)
})

test('each change has its event, of whoever sent the file', async () => {
  const sender = await service.as({ subject: 'hr-job' })
  await importFile(sender, ndjson([{ address: 'seen@example.jp', no_password: true }]))
  const { body } = await api.get('/v1/audit-events?subject=hr-job')
  assert.deepEqual(body.items.map((event: { action: string }) => event.action).sort(), [
    'import.create',
    'mailbox.create',
  ])
})

test('a row needs the scope of its operation, and a limited caller sees nothing foreign', async () => {
  const weak = await service.as({ scopes: ['imports:write'] })
  const { id } = await importFile(weak, ndjson([{ address: 'e@example.jp', no_password: true }]))
  assert.deepEqual(await statuses(id), ['insufficient-scope'])
  const limited = await service.as({
    scopes: ['imports:write', 'mailboxes:write'],
    domains: ['other.jp'],
    subject: 'limited',
  })
  const file = ndjson([
    { address: 'f@example.jp', no_password: true },
    { address: 'f@nowhere.jp', no_password: true },
    { operation: 'delete', address: 'a@example.jp' },
    { operation: 'lock', address: 'a@nowhere.jp' },
    { operation: 'rename', address: 'c@other.jp', new_address: 'z@example.jp' },
    { address: 'a@other.jp', no_password: true },
    { address: 'postmaster@other.jp', no_password: true, allow_role_name: true },
    { address: 'g@other.jp', create_account: false },
  ])
  const own = await importFile(limited, file)
  assert.deepEqual(await statuses(own.id), [
    ...['unknown-domain', 'unknown-domain', 'mailbox-not-found', 'mailbox-not-found', 'unknown-domain'],
    ...['name-taken', 'insufficient-scope', 'insufficient-scope'],
  ])
  const taken = (await rowsOf(limited, own.id))[5]
  assert.equal(taken.problem.conflict, undefined)
  assert.equal(outcome(await limited.get(`/v1/imports/${id}`)), '404 import-not-found')
  assert.equal(outcome(await limited.delete(`/v1/imports/${id}`)), '404 import-not-found')
  assert.equal(outcome(await limited.get(`/v1/imports/${id}/rows`)), '404 import-not-found')
  const listed = (await limited.get('/v1/imports')).body.items
  assert.deepEqual(
    listed.map((one: { id: string }) => one.id),
    [own.id],
  )
})

test('what a limited caller learns of names counts as in single calls', async () => {
  const limited = await service.as({
    scopes: ['imports:write', 'mailboxes:write'],
    domains: ['other.jp'],
    subject: 'prober',
  })
  const probes = Array.from({ length: 60 }, () => ({ address: 'a@other.jp', no_password: true }))
  const { body } = await postImport(limited, ndjson(probes))
  const { rows } = await service.admin.query(
    `select count from app.rate_counters where kind = 'name-taken' and subject = 'prober'`,
  )
  const until = Date.now() + 60_000
  let spent = rows[0]?.count ?? 0
  while (spent < 20 && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    spent =
      (await service.admin.query(`select count from app.rate_counters where subject = 'prober'`)).rows[0]
        ?.count ?? 0
  }
  await new Promise((resolve) => setTimeout(resolve, 300))
  const shown = await limited.get(`/v1/imports/${body.id}`)
  assert.deepEqual([shown.body.state, shown.body.rows_done], ['running', 20])
  assert.equal(outcome(await limited.delete(`/v1/imports/${body.id}`)), '204')
})

test('keeps the limit of a domain, also where a dry run would pass it', async () => {
  const rows = Array.from({ length: 4 }, (_, i) => ({ address: `small${i}@small.jp`, no_password: true }))
  const trial = await importFile(api, ndjson(rows), '?dry_run=true')
  const expected = ['created', 'created', 'mailbox-limit-reached', 'mailbox-limit-reached']
  assert.deepEqual(await statuses(trial.id), expected)
  assert.equal((await api.get('/v1/domains/small.jp')).body.mailbox_count, 0)
  const { id } = await importFile(api, ndjson(rows))
  assert.deepEqual(await statuses(id), expected)
  assert.equal((await api.get('/v1/domains/small.jp')).body.mailbox_count, 2)
})

test('what is refused beside others is refused for what stood against it by itself', async () => {
  await api.post('/v1/domains', { name: 'room.jp' })
  await api.patch('/v1/domains/room.jp', { mailbox_limit: 1 })
  const { id } = await importFile(
    api,
    ndjson([
      { operation: 'create', address: 'unlocked@room.jp' },
      { operation: 'create', address: 'room1@room.jp', no_password: true },
      { operation: 'create', address: 'room2@room.jp', no_password: true },
    ]),
  )
  assert.deepEqual(await statuses(id), ['password-required', 'created', 'mailbox-limit-reached'])
})

test('a row that is to ensure what somebody else makes at that moment finds it made', async () => {
  const faster = await service.admin.connect()
  try {
    await faster.query('begin')
    await faster.query(`insert into app.accounts (name, authentication) values ('faster', 'local')`)
    await faster.query(
      `insert into app.addresses (name, domain, kind, holds_name) values ('faster', 'example.jp', 'mailbox', true)`,
    )
    await faster.query(`insert into app.mailboxes (name, domain) values ('faster', 'example.jp')`)
    const { body } = await postImport(
      api,
      ndjson([
        { address: 'faster@example.jp', no_password: true },
        { address: 'slower@example.jp', no_password: true },
      ]),
    )
    for (;;) {
      const { rows } = await service.admin.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      )
      if (rows.length > 0) break
      await sleep(20)
    }
    await faster.query('commit')
    await untilDone(api, body.id)
    assert.deepEqual(await statuses(body.id), ['unchanged', 'created'])
  } finally {
    faster.release()
  }
})

test('a dry run lists every collision, also of rows with one another, and changes nothing', async () => {
  const file = ndjson([
    { operation: 'create', address: 'x@example.jp', no_password: true },
    { operation: 'create', address: 'x@other.jp', no_password: true },
    { operation: 'rename', address: 'x@example.jp', new_address: 'y@example.jp' },
    { operation: 'create', address: 'y@other.jp', password: 'long enough for a password' },
    { operation: 'delete', address: 'y@example.jp' },
    { operation: 'create', address: 'z@example.jp', password: 'password' },
    { operation: 'create', address: 'z@example.jp', password: 'long enough for a password' },
  ])
  const trial = await importFile(api, file, '?dry_run=true')
  const expected = [
    'created',
    'name-taken',
    'renamed',
    'name-taken',
    'deleted',
    'password-too-weak',
    'created',
  ]
  assert.deepEqual(await statuses(trial.id), expected)
  assert.equal(outcome(await api.get('/v1/mailboxes/y@example.jp')), '404 mailbox-not-found')
  const { id } = await importFile(api, file)
  assert.deepEqual(await statuses(id), expected)
})

test('stops at the first row that is refused, where it is to', async () => {
  const file = ndjson([
    { address: 'before@example.jp', no_password: true },
    { operation: 'create', address: 'before@example.jp', no_password: true },
    { address: 'after@example.jp', no_password: true },
  ])
  const ended = await importFile(api, file, '?on_error=stop')
  assert.deepEqual(
    [ended.state, ended.rows_done, ended.problem.type],
    ['failed', 2, '/problems/mailbox-exists'],
  )
  assert.deepEqual(await statuses(ended.id), ['created', 'mailbox-exists', 'skipped'])
})

test('stops in the middle of a long file, whose next rows have been read by then, and is tried out like that', async () => {
  const row = (i: number) => ({ address: `long${i}@example.jp`, no_password: true })
  const rows = Array.from({ length: 2500 }, (_, i) =>
    i === 1700 ? { ...row(3), operation: 'create' } : row(i),
  )
  const trial = await importFile(api, ndjson(rows), '?dry_run=true')
  const wanted = rows.map((_, i) => (i === 1700 ? 'mailbox-exists' : 'created'))
  assert.deepEqual(await statuses(trial.id), wanted)
  const ended = await importFile(api, ndjson(rows), '?on_error=stop')
  assert.deepEqual([ended.state, ended.rows_done], ['failed', 1701])
  assert.deepEqual(
    await statuses(ended.id),
    wanted.map((status, i) => (i > 1700 ? 'skipped' : status)),
  )
  const again = await importFile(api, ndjson(rows))
  assert.deepEqual(
    await statuses(again.id),
    wanted.map((status, i) => (i < 1700 ? 'unchanged' : status)),
  )
})

test('a cancelled import does no more, and forgets the passwords that are left', async () => {
  const rows = Array.from({ length: 300 }, (_, i) => ({
    address: `p${i}@example.jp`,
    password: `secret words ${i} of mine`,
  }))
  const { body } = await postImport(api, ndjson(rows))
  const { rows: sealed } = await service.admin.query(
    `select sealed, content from app.import_rows where sealed is not null limit 1`,
  )
  assert.match(sealed[0].sealed, /^[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)
  assert.equal(outcome(await api.delete(`/v1/imports/${body.id}?dry_run=true`)), '204')
  assert.equal(outcome(await api.delete(`/v1/imports/${body.id}`)), '204')
  assert.equal(outcome(await api.delete(`/v1/imports/${body.id}`)), '204')
  const { state, rows_done } = await untilDone(api, body.id)
  assert.equal(state, 'cancelled')
  assert.ok(rows_done < 300)
  const until = Date.now() + 60_000
  const left = async () =>
    (
      await service.admin.query(
        `select from app.import_rows where sealed is not null or content is not null and import = $1`,
        [body.id],
      )
    ).rowCount
  while ((await left()) !== 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50))
  assert.equal(await left(), 0)
})

test('is done once under an idempotency key', async () => {
  const file = csv(['address', 'no_password'], [['once@example.jp', 'true']])
  const headers = { 'idempotency-key': 'import-1' }
  const first = await postImport(api, file, '', headers)
  const again = await postImport(api, file, '', headers)
  assert.equal(again.headers.get('idempotency-replayed'), 'true')
  assert.equal(again.body.id, first.body.id)
  const other = await postImport(api, `${file}"x@example.jp","true"\r\n`, '', headers)
  assert.equal(outcome(other), '422 idempotency-key-reused')
  assert.equal(outcome(await postImport(api, file, '?dry_run=true', headers)), '422 idempotency-key-reused')
  const { rows } = await service.admin.query(
    `select count(*)::integer as count from app.imports where state = 'receiving'`,
  )
  assert.equal(rows[0].count, 0)
})

test('the rows as CSV: all of them, and nothing that a spreadsheet would compute', async () => {
  const { id } = await importFile(
    api,
    ndjson([{ address: '-x@example.jp', no_password: true }, { address: 'no' }]),
  )
  const { body, headers } = await api.get(`/v1/imports/${id}/rows`, { headers: { accept: 'text/csv' } })
  assert.match(headers.get('content-type') ?? '', /^text\/csv/)
  const [header, first, second] = body.split('\r\n')
  assert.equal(
    header,
    'line,operation,address,status,clear_text_username,secure_password_username,problem,detail',
  )
  assert.equal(first, "1,ensure,'-x@example.jp,created,,,,")
  assert.match(second, /^2,,,failed,,,invalid-address,/)
})

test('ends when the token that it was sent with is revoked', async () => {
  const made = await api.post('/v1/tokens', { label: 'A job', scopes: ['imports:write', 'mailboxes:write'] })
  const sender = createClient(service.url, made.body.token)
  const rows = Array.from({ length: 400 }, (_, i) => ({
    address: `r${i}@example.jp`,
    password: `secret words ${i} of theirs`,
  }))
  const { body } = await postImport(sender, ndjson(rows))
  await api.delete(`/v1/tokens/${made.body.id}`)
  const ended = await untilDone(api, body.id)
  assert.deepEqual([ended.state, ended.problem.type], ['failed', '/problems/unauthenticated'])
  assert.ok(ended.rows_done < 400)
})

test('what it does counts against the limits of its token, and it ends where one is not enough', async () => {
  const rows = Array.from({ length: 30 }, (_, i) => ({ address: `w${i}@example.jp`, no_password: true }))
  await importFile(api, ndjson(rows))
  const limits = { deletes_per_day: 12, locks_per_day: 40 }
  const wish = { label: 'A job', scopes: ['imports:write', 'mailboxes:write', 'mailboxes:read'], limits }
  const made = await api.post('/v1/tokens', wish)
  const sender = createClient(service.url, made.body.token)
  const some = (operation: string, from: number) =>
    ndjson(rows.slice(from).map(({ address }) => ({ operation, address })))

  await importFile(sender, some('lock', 0))
  const tried = await importFile(sender, some('delete', 0), '?dry_run=true')
  assert.equal(tried.state, 'completed', 'what is only tried counts nothing')
  const ended = await importFile(sender, some('delete', 0))
  assert.deepEqual([ended.state, ended.problem.type], ['failed', '/problems/fuse-blown'])
  assert.deepEqual([ended.rows_done, ended.counts.deleted], [12, 12])
  const { body: token } = await api.get(`/v1/tokens/${made.body.id}`)
  assert.deepEqual(token.blown_fuses, ['deletes'])
  const { rows: left } = await service.admin.query(
    `select count(*)::integer as n from app.mailboxes where name ~ '^w[0-9]+$' and state = 'active' and locked`,
  )
  assert.equal(left[0].n, 18)

  assert.equal(outcome(await api.post(`/v1/tokens/${made.body.id}/reset`)), '200')
  assert.equal((await importFile(sender, some('delete', 20))).state, 'completed')
})

test('ends with the token that its own was made with', async () => {
  const wish = { label: 'A job', scopes: ['imports:write', 'mailboxes:write', 'tokens:write'] }
  const parent = await api.post('/v1/tokens', wish)
  const child = await createClient(service.url, parent.body.token).post('/v1/tokens', wish)
  const rows = Array.from({ length: 400 }, (_, i) => ({
    address: `k${i}@example.jp`,
    password: `secret words ${i} of theirs`,
  }))
  const { body } = await postImport(createClient(service.url, child.body.token), ndjson(rows))
  await api.delete(`/v1/tokens/${parent.body.id}`)
  const ended = await untilDone(api, body.id)
  assert.deepEqual([ended.state, ended.problem.type], ['failed', '/problems/unauthenticated'])
})

test('what belongs to the person is set with a limited token too', async () => {
  await importFile(api, ndjson([{ address: 'limited@example.jp', no_password: true }]))
  const scopes = ['imports:write', 'mailboxes:write', 'accounts:write']
  const made = await api.post('/v1/tokens', { label: 'A job', scopes, limits: { locks_per_day: 1 } })
  const row = { operation: 'set', address: 'limited@example.jp', display_name: 'L', locked: true }
  const { id } = await importFile(createClient(service.url, made.body.token), ndjson([row]))
  assert.deepEqual(await statuses(id), ['updated'])
})

test('a limited caller sees no import of one without domains, nor of whoever had its domain before', async () => {
  const all = ['imports:write', 'mailboxes:write'] as const
  await api.post('/v1/domains', { name: 'again.jp' })
  const holder = await service.as({ scopes: all, domains: ['again.jp'], subject: 'before' })
  const { id } = await importFile(holder, ndjson([{ address: 'hanako@again.jp', no_password: true }]))
  const nobody = await service.as({ scopes: all, domains: [], subject: 'nobody' })
  const sent = await postImport(nobody, ndjson([{ address: 'secret@their.jp', no_password: true }]))
  const none = await untilDone(api, sent.body.id)
  assert.deepEqual(await statuses(none.id), ['unknown-domain'])
  const seen = async () => {
    const { body } = await holder.get('/v1/imports')
    return body.items.map((one: { id: string }) => one.id)
  }
  assert.deepEqual(await seen(), [id])
  assert.equal(outcome(await holder.get(`/v1/imports/${none.id}/rows`)), '404 import-not-found')
  assert.equal(outcome(await holder.delete(`/v1/imports/${none.id}`)), '404 import-not-found')
  await api.delete('/v1/domains/again.jp?mailboxes=delete&expect=1&accounts=delete&purge=true')
  await api.post('/v1/domains', { name: 'again.jp' })
  assert.deepEqual(await seen(), [])
  assert.equal(outcome(await holder.get(`/v1/imports/${id}`)), '404 import-not-found')
})

test('a row of ten thousand mistakes is refused for one of them', async () => {
  const members = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`x${i}`, 1]))
  const { id } = await importFile(api, ndjson([{ address: 'wide@example.jp', ...members }]))
  const [row] = await rowsOf(api, id)
  assert.equal(row.problem.type, '/problems/invalid-request')
  assert.equal(row.problem.errors.length, 1)
})

test('a full domain tells of free names as often as the budget allows', async () => {
  await api.post('/v1/domains', { name: 'full.jp', mailbox_limit: 0 })
  const scopes = ['imports:write', 'mailboxes:write'] as const
  const caller = await service.as({ scopes, domains: ['full.jp'], subject: 'filler' })
  const rows = Array.from({ length: 15 }, (_, i) => ({ address: `free${i}@full.jp`, no_password: true }))
  const { id } = await importFile(caller, ndjson(rows))
  assert.deepEqual(
    new Set((await rowsOf(caller, id)).map(({ problem }) => problem.type)),
    new Set(['/problems/mailbox-limit-reached']),
  )
  const { rows: counters } = await service.admin.query(
    `select sum(count)::integer as n from app.rate_counters where subject = 'filler'`,
  )
  assert.equal(counters[0].n, 15)
})

test('a hash for an account that exists is refused where the server links by default', async () => {
  await api.post('/v1/accounts', { name: 'boss', no_password: true })
  await api.patch('/v1/server', { create_account_default: false })
  const row = {
    operation: 'create',
    address: 'boss@example.jp',
    password_hash: `$2y$10$${'a'.repeat(53)}`,
  }
  const { id } = await importFile(api, ndjson([row]))
  await api.patch('/v1/server', { create_account_default: true })
  assert.deepEqual(await statuses(id), ['password-not-accepted'])
})

test('a dry run knows the limit of a domain for rows with passwords too', async () => {
  await api.post('/v1/domains', { name: 'tiny.jp', mailbox_limit: 2 })
  const rows = Array.from({ length: 4 }, (_, i) => ({
    address: `p${i}@tiny.jp`,
    password: `words of person ${i}, many`,
  }))
  const { id } = await importFile(api, ndjson(rows), '?dry_run=true')
  assert.deepEqual(await statuses(id), [
    ...['created', 'created'],
    ...['mailbox-limit-reached', 'mailbox-limit-reached'],
  ])
})

test('a dry run gives up where too many rows are about one name', async () => {
  const { rows } = await service.admin.query(
    `insert into app.imports (state, dry_run, on_error, subject, issuer, payer_issuer, payer_id, scopes, domains,
       request_id, rows, last_line, done_line, cleared)
     select 'queued', true, 'continue', subject, issuer, payer_issuer, payer_id, scopes, domains, request_id, 202, 202, 201,
       false
     from app.imports where domains = '{*}' and stored_token is null limit 1 returning id`,
  )
  await service.admin.query(
    `insert into app.import_rows (import, line, operation, address, content, names, status)
     select $1, i, 'lock', 'c@other.jp', '{}', '{c}', case when i < 202 then 'updated' end
     from generate_series(1, 202) as i`,
    [rows[0].id],
  )
  await importFile(api, ndjson([{ address: 'wakes@example.jp', no_password: true }]))
  await untilDone(api, rows[0].id)
  const { body } = await api.get(`/v1/imports/${rows[0].id}/rows?status=failed`)
  assert.deepEqual(
    body.items.map((row: { line: number }) => row.line),
    [202],
  )
  assert.match(body.items[0].problem.detail, /too many for a dry run/)
})
