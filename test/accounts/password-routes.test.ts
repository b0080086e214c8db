import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['a.jp', 'b.jp']) await admin.post('/v1/domains', { name })

const setPassword = (name: string, body: unknown, headers: Record<string, string> = {}, caller = admin) =>
  caller.put(`/v1/accounts/${name}/password`, body, { headers })
const make = (name: string) => admin.post('/v1/accounts', { name, generate_password: true })

async function verifiers(name: string): Promise<Record<string, string>> {
  const { rows } = await service.admin.query('select * from app.verifiers where name = $1', [name])
  return Object.fromEntries(rows.map((row) => [row.mechanism, row.verifier]))
}

test('sets the password that is sent, and puts all verifiers anew', async () => {
  await make('given')
  const [before, account] = [await verifiers('given'), await admin.get('/v1/accounts/given')]
  const set = await setPassword('given', { password: 'a new password' })
  assert.equal(set.status, 204)
  const [after, changed] = [await verifiers('given'), await admin.get('/v1/accounts/given')]
  assert.deepEqual(Object.keys(after).sort(), ['ARGON2ID', 'SCRAM-SHA-256'])
  for (const mechanism of Object.keys(after)) assert.notEqual(after[mechanism], before[mechanism])
  assert.equal(changed.etag, set.etag)
  assert.notEqual(changed.etag, account.etag)
  assert.ok(changed.body.password_set_at > account.body.password_set_at)
  assert.equal(changed.body.updated_at, changed.body.password_set_at)
})

test('shows a generated password once', async () => {
  await make('made')
  const set = await setPassword('made', { generate_password: true })
  assert.equal(set.status, 200)
  assert.deepEqual(Object.keys(set.body), ['generated_password'])
  assert.ok(set.body.generated_password.length >= 20)
  const again = await setPassword('made', { generate_password: true })
  assert.notEqual(again.body.generated_password, set.body.generated_password)
  assert.equal(again.etag, (await admin.get('/v1/accounts/made')).etag)
})

test('uses the iterations that the server is set to now', async () => {
  await make('rounds')
  await admin.patch('/v1/server', { scram_iterations: 5000 })
  await setPassword('rounds', { password: 'a new password' })
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  assert.match((await verifiers('rounds'))['SCRAM-SHA-256'] ?? '', /^5000,/)
})

test('leaves the version of the mailbox alone, but shows the new time there', async () => {
  const made = await admin.post('/v1/mailboxes', { address: 'box@a.jp', generate_password: true })
  await setPassword('BOX', { password: 'a new password' })
  const after = await admin.get('/v1/mailboxes/box@a.jp')
  assert.equal(after.etag, made.etag)
  assert.ok(after.body.account.password_set_at > made.body.account.password_set_at)
})

const refusals: [string, unknown, string, string | undefined][] = [
  ['nothing', {}, '422 password-required', undefined],
  ['generate_password: false', { generate_password: false }, '422 password-required', undefined],
  ['seven characters', { password: '1234567' }, '422 password-too-weak', '/password'],
  ['both', { password: 'long enough', generate_password: true }, '422 password-not-accepted', '/password'],
  ['a control character', { password: 'long\u0007enough' }, '422 password-not-accepted', '/password'],
  ['an empty text', { password: '' }, '400 invalid-request', '/password'],
  ['null', { password: null }, '400 invalid-request', '/password'],
  ['a number', { password: 1234567890 }, '400 invalid-request', '/password'],
  ['129 characters', { password: 'x'.repeat(129) }, '400 invalid-request', '/password'],
  ['the old password besides', { password: 'long enough', old: 'x' }, '400 invalid-request', '/old'],
  ['a bare text', 'long enough', '400 invalid-request', ''],
  ['no body', undefined, '400 invalid-request', ''],
]
for (const [what, body, expected, pointer] of refusals) {
  test(`refuses ${what}, and the old password stays`, async () => {
    await make('stays')
    const before = await verifiers('stays')
    const refused = await setPassword('stays', body)
    assert.equal(outcome(refused), expected)
    assert.equal(refused.body.errors?.[0].pointer, pointer)
    assert.deepEqual(await verifiers('stays'), before)
  })
}

describe('If-Match', () => {
  test('is the version of the account', async () => {
    const { etag } = await make('match')
    const before = await verifiers('match')
    const body = { password: 'a new password' }
    for (const tag of ['"x"', `W/${etag}`, '"5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e"']) {
      const refused = await setPassword('match', body, { 'if-match': tag })
      assert.equal(outcome(refused), '412 precondition-failed', tag)
    }
    assert.equal(outcome(await setPassword('match', body, { 'if-match': 'x' })), '400 invalid-request')
    assert.deepEqual(await verifiers('match'), before)
    const set = await setPassword('match', body, { 'if-match': `"x", ${etag}` })
    assert.equal(set.status, 204)
    assert.equal(outcome(await setPassword('match', body, { 'if-match': etag })), '412 precondition-failed')
    assert.equal(outcome(await setPassword('match', body, { 'if-match': '*' })), '204')
    assert.equal(outcome(await setPassword('absent', body, { 'if-match': '*' })), '404 account-not-found')
  })
})

test('finds no account that is not there, deleted, or cannot be one', async () => {
  const body = { password: 'a new password' }
  await admin.post('/v1/mailboxes', { address: 'gone@a.jp', generate_password: true })
  await admin.delete('/v1/mailboxes/gone@a.jp?account=delete')
  const before = await verifiers('gone')
  for (const name of ['absent', 'gone', 'gone@a.jp', '%00', 'x'.repeat(65)])
    assert.equal(outcome(await setPassword(name, body)), '404 account-not-found', name)
  assert.deepEqual(await verifiers('gone'), before)
})

describe('rights', () => {
  const body = { password: 'a new password' }

  test('need passwords:write, which mailboxes:write and accounts:write do not include', async () => {
    await make('rights')
    const other = await service.as({ scopes: ['mailboxes:write', 'accounts:write'] })
    assert.equal(outcome(await setPassword('rights', body, {}, other)), '403 insufficient-scope')
    const enough = await service.as({ scopes: ['passwords:write'] })
    assert.equal(outcome(await setPassword('rights', body, {}, enough)), '204')
  })

  test('of a limited caller end at its domains', async () => {
    await admin.post('/v1/mailboxes', { address: 'near@a.jp', generate_password: true })
    await admin.post('/v1/mailboxes', { address: 'far@b.jp', generate_password: true })
    await make('nowhere')
    const limited = await service.as({ scopes: ['passwords:write'], domains: ['a.jp'] })
    assert.equal(outcome(await setPassword('near', body, {}, limited)), '204')
    for (const name of ['far', 'nowhere', 'absent']) {
      const before = await verifiers(name)
      assert.equal(outcome(await setPassword(name, body, {}, limited)), '404 account-not-found', name)
      assert.deepEqual(await verifiers(name), before)
    }
  })
})
