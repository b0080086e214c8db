import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })

afterEach(() => assertInvariants(service.admin))

let domains = 0
/** A domain with mailboxes of these names, followed by the number of the domain. */
async function newDomain(names: string[], values: object = {}) {
  const at = `${++domains}`
  const domain = `back${at}.jp`
  const path = `/v1/domains/${domain}`
  assert.equal((await admin.post('/v1/domains', { name: domain, ...values })).status, 201)
  for (const name of names) {
    const body = { address: `${name}${at}@${domain}`, generate_password: true }
    assert.equal((await admin.post('/v1/mailboxes', body)).status, 201)
  }
  const remove = (count: number, more = '') =>
    admin.delete(`${path}?mailboxes=delete&expect=${count}${more}`).then(outcome)
  const restore = (client = admin, headers: Record<string, string> = {}) =>
    client.post(`${path}/restore`, undefined, { headers })
  const mailbox = (name: string) => `/v1/mailboxes/${name}${at}@${domain}`
  return { domain, path, at, remove, restore, mailbox }
}

type Table = 'domains' | 'mailboxes' | 'accounts' | 'verifiers'

async function rows(table: Table, name: string) {
  return (await service.admin.query(`select * from app.${table} where name = $1`, [name])).rows
}

const written = ({ updated_at, ...rest }: { updated_at: string }) => rest

test('makes a deleted domain what it was, with its mailboxes', async () => {
  const values = { locked: true, postmaster_address: 'info@example.org', default_quota_bytes: 7000 }
  const { domain, path, at, remove, restore, mailbox } = await newDomain(['a', 'b'], values)
  await service.admin.query(`insert into app.addresses values ('info', $1, 'alias', false)`, [domain])
  await admin.patch(mailbox('b'), { quota_bytes: 5, locked: true })
  const before = await admin.get(path)
  const [a, b] = [await admin.get(mailbox('a')), await admin.get(mailbox('b'))]
  const verifiers = await rows('verifiers', `a${at}`)
  assert.equal(await remove(2), '204')

  const restored = await restore()
  assert.equal(restored.status, 200)
  assert.deepEqual(written(restored.body), written(before.body))
  assert.deepEqual([restored.body.state, restored.body.mailbox_count], ['active', 2])
  assert.notEqual(restored.etag, before.etag)
  const got = await admin.get(path)
  assert.deepEqual([got.body, got.etag], [restored.body, restored.etag])

  for (const [name, was] of [
    ['a', a],
    ['b', b],
  ] as const) {
    const again = await admin.get(mailbox(name))
    assert.deepEqual(written(again.body), written(was.body))
    assert.notEqual(again.etag, was.etag)
    assert.equal((await rows('mailboxes', `${name}${at}`))[0].deleted_with_domain, false)
  }
  assert.deepEqual(await rows('verifiers', `a${at}`), verifiers)
  const alias = await service.admin.query(`select from app.addresses where domain = $1 and kind = 'alias'`, [
    domain,
  ])
  assert.equal(alias.rowCount, 1)
  const create = { address: `c${at}@${domain}`, generate_password: true }
  assert.equal((await admin.post('/v1/mailboxes', create)).status, 201)
  assert.equal(outcome(await admin.post('/v1/domains', { name: domain })), '409 domain-exists')
})

test('brings back exactly the mailboxes that went with it', async () => {
  const { path, at, remove, restore, mailbox } = await newDomain(['a', 'b', 'c'])
  await admin.delete(mailbox('a'))
  await admin.delete(`${mailbox('b')}?account=delete`)
  const before = [(await rows('mailboxes', `a${at}`))[0], (await rows('mailboxes', `b${at}`))[0]]
  assert.equal(await remove(1), '204')
  assert.equal((await restore()).body.mailbox_count, 1)
  assert.equal((await admin.get(mailbox('c'))).status, 200)
  assert.deepEqual([(await rows('mailboxes', `a${at}`))[0], (await rows('mailboxes', `b${at}`))[0]], before)
  assert.equal((await rows('accounts', `b${at}`))[0].state, 'deleted')
  for (const name of ['a', 'b']) {
    assert.equal(outcome(await admin.get(mailbox(name))), '404 mailbox-not-found')
    assert.equal(outcome(await admin.post(`${mailbox(name)}/restore`)), '200')
  }
  assert.equal((await admin.get(path)).body.mailbox_count, 3)
})

test('a mailbox that was purged in the meantime stays away', async () => {
  const { remove, restore, mailbox } = await newDomain(['a', 'b'])
  await remove(2)
  assert.equal(outcome(await admin.delete(`${mailbox('a')}?purge=true&account=delete`)), '204')
  assert.equal((await restore()).body.mailbox_count, 1)
  assert.equal(outcome(await admin.get(mailbox('a'))), '404 mailbox-not-found')
})

test('brings back the accounts that went along, and leaves those that were kept as they are', async () => {
  const gone = await newDomain(['a'])
  await gone.remove(1, '&accounts=delete')
  assert.equal((await gone.restore()).status, 200)
  const { body } = await admin.get(`/v1/accounts/a${gone.at}`)
  assert.equal(body.mailbox, `a${gone.at}@${gone.domain}`)
  assert.deepEqual((await admin.get(gone.mailbox('a'))).body.login_blocked_by, [])

  const kept = await newDomain(['a'])
  const file = { address: `p${kept.at}@${kept.domain}`, authentication: 'password_file' }
  await admin.post('/v1/mailboxes', { ...file, generate_password: true })
  await kept.remove(2, '&accounts=keep')
  await admin.patch(`/v1/accounts/a${kept.at}`, { disabled: true })
  const { etag } = await admin.get(`/v1/accounts/a${kept.at}`)
  await kept.restore()
  assert.equal((await admin.get(`/v1/accounts/a${kept.at}`)).etag, etag)
  assert.deepEqual((await admin.get(kept.mailbox('a'))).body.login_blocked_by, ['account'])
  assert.deepEqual((await admin.get(kept.mailbox('p'))).body.login_blocked_by, [])
})

test('asks no limit', async () => {
  const { path, at, domain, remove, restore } = await newDomain(['a', 'b'])
  await admin.patch(path, { mailbox_limit: 1 })
  await remove(2)
  const { body } = await restore()
  assert.deepEqual([body.mailbox_count, body.mailbox_limit], [2, 1])
  const create = { address: `c${at}@${domain}`, generate_password: true }
  assert.equal(outcome(await admin.post('/v1/mailboxes', create)), '409 mailbox-limit-reached')
})

test('brings back a domain that waited for mailboxes deleted before it, without these', async () => {
  const { path, restore, mailbox } = await newDomain(['a'])
  await admin.delete(mailbox('a'))
  assert.equal(outcome(await admin.delete(path)), '204')
  assert.equal((await restore()).body.mailbox_count, 0)
  assert.equal(outcome(await admin.get(mailbox('a'))), '404 mailbox-not-found')
})

test('answers one that is not deleted as it is, so that it can be repeated', async () => {
  const { path, remove, restore } = await newDomain(['a'])
  const made = await admin.get(path)
  const untouched = await restore()
  assert.deepEqual([untouched.status, untouched.etag, untouched.body], [200, made.etag, made.body])
  await remove(1)
  const first = await restore()
  const second = await restore()
  assert.deepEqual([second.status, second.etag, second.body], [200, first.etag, first.body])
})

test('can be deleted and restored again', async () => {
  const { remove, restore, mailbox } = await newDomain(['a', 'b'])
  await remove(2, '&accounts=delete')
  await restore()
  await admin.delete(mailbox('b'))
  assert.equal(await remove(1), '204')
  assert.equal((await restore()).body.mailbox_count, 1, 'the mark of the first deletion is gone')
})

test('finds nothing where there is no such domain', async () => {
  const { domain, path, remove, restore } = await newDomain(['a'])
  await remove(1)
  assert.equal(outcome(await admin.delete(`${path}?purge=true`)), '204')
  assert.equal(outcome(await restore()), '404 domain-not-found')
  for (const name of [`sub.${domain}`, 'example', '%00', '-.jp'])
    assert.equal(outcome(await admin.post(`/v1/domains/${name}/restore`)), '404 domain-not-found', name)
})

test('finds a domain by its U-labels too', async () => {
  await admin.post('/v1/domains', { name: 'bücher.example' })
  const restored = await admin.post(`/v1/domains/${encodeURIComponent('Bücher.example.')}/restore`)
  assert.equal(restored.body.name, 'xn--bcher-kva.example')
})

test('obeys If-Match, whatever the state', async () => {
  const { domain, path, remove, restore } = await newDomain(['a'])
  const { etag: live } = await admin.get(path)
  assert.equal(outcome(await restore(admin, { 'if-match': '"another"' })), '412 precondition-failed')
  assert.equal(outcome(await restore(admin, { 'if-match': live })), '200')
  await remove(1)
  const [deleted] = await rows('domains', domain)
  assert.equal(outcome(await restore(admin, { 'if-match': live })), '412 precondition-failed')
  assert.deepEqual((await rows('domains', domain))[0], deleted)
  assert.equal(outcome(await restore(admin, { 'if-match': `"${deleted.version}"` })), '200')
})

test('is only for callers with all domains and domains:write', async () => {
  const { domain, remove, restore } = await newDomain(['a'])
  await remove(1)
  const limited = await service.as({ domains: [domain] })
  const reader = await service.as({ scopes: ['domains:read', 'mailboxes:write'] })
  for (const client of [limited, reader])
    assert.equal(outcome(await restore(client)), '403 insufficient-scope')
  const writer = await service.as({ scopes: ['domains:write'] })
  assert.equal(outcome(await restore(writer)), '200')
})

test('goes and comes back in one piece at any size, with all the time it needs', async () => {
  const { path, at, domain, remove, restore } = await newDomain([])
  const size = 5000
  const names = Array.from({ length: size }, (_, i) => `many${at}-${i}`)
  const insert = (text: string) =>
    service.admin.query(text, [names, ...(text.includes('$2') ? [domain] : [])])
  await insert(`insert into app.accounts (name, authentication) select unnest($1::text[]), 'local'`)
  await insert(`insert into app.addresses select unnest($1::text[]), $2, 'mailbox', true`)
  await insert(`insert into app.mailboxes (name, domain) select unnest($1::text[]), $2`)
  // what takes longer than a statement may otherwise is told by the setting, not by waiting for it
  await service.admin.query(`
    create function app.note_timeout() returns trigger language plpgsql as $$
    begin
      if current_setting('statement_timeout')::interval < '5min' then raise exception 'it has too little time'; end if;
      return new;
    end $$;
    grant execute on function app.note_timeout() to public;
    create trigger note_timeout before update on app.domains for each row execute function app.note_timeout()`)
  try {
    assert.equal(await remove(size, '&accounts=delete'), '204')
    assert.equal((await restore()).body.mailbox_count, size)
  } finally {
    await service.admin.query('drop function app.note_timeout cascade')
  }
  const { rowCount } = await service.admin.query(
    `select from app.accounts where name = any($1) and state = 'active'`,
    [names],
  )
  assert.equal(rowCount, size)
  assert.equal((await admin.get(path)).body.mailbox_count, size)
})
