import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

const past = '2026-01-31T15:00:00.000Z'
const future = '2097-03-31T15:00:00.000Z'
const farFuture = '2099-03-31T15:00:00.000Z'

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['example.jp', 'other.jp']) await admin.post('/v1/domains', { name })
})

let people = 0
async function newMailbox(account: object = {}) {
  const name = `person${++people}`
  const address = `${name}@example.jp`
  const made = await admin.post('/v1/mailboxes', { address, generate_password: true, account })
  assert.equal(outcome(made), '201')
  return { name, address, path: `/v1/mailboxes/${address}`, account: `/v1/accounts/${name}`, made: made.body }
}

/** When the job that ends the sessions of the account is due. */
async function dueOf(name: string): Promise<string[]> {
  const { rows } = await service.admin.query<{ run_at: Date }>(
    'select run_at from graphile_worker.jobs where key = $1',
    [`end-logins:${name}`],
  )
  return rows.map(({ run_at }) => run_at.toISOString())
}

const periodOf = ({ login_from, login_until }: Record<string, unknown>) => [login_from, login_until]

test('an account is made with the time in which it may log in, by itself or with its mailbox', async () => {
  const alone = await admin.post('/v1/accounts', {
    name: 'alone',
    generate_password: true,
    login_from: past,
    login_until: '2097-04-01T00:00:00.0004+09:00',
  })
  assert.equal(outcome(alone), '201')
  assert.deepEqual(periodOf(alone.body), [past, future])
  assert.deepEqual(periodOf((await admin.get('/v1/accounts/alone')).body), [past, future])
  assert.deepEqual(await dueOf('alone'), [future])

  const { name, made, account } = await newMailbox({ login_until: future })
  assert.deepEqual(periodOf(made.account), [null, future])
  assert.deepEqual(made.login_blocked_by, [])
  assert.deepEqual(periodOf((await admin.get(account)).body), [null, future])
  assert.deepEqual(await dueOf(name), [future])

  const unlimited = await newMailbox({ login_from: future })
  assert.deepEqual(await dueOf(unlimited.name), [])
})

test('login_blocked_by says who may not log in yet and who may no longer', async () => {
  const { path, account } = await newMailbox()
  const reasons = async () => (await admin.get(path)).body.login_blocked_by
  for (const [period, expected] of [
    [{ login_from: past, login_until: future }, []],
    [{ login_from: future, login_until: null }, ['not-yet']],
    [{ login_from: null, login_until: past }, ['expired']],
    [{ disabled: true, login_until: past }, ['account', 'expired']],
    [{ disabled: false, login_until: null }, []],
  ] as const) {
    assert.equal(outcome(await admin.patch(account, period)), '200')
    assert.deepEqual(await reasons(), expected, JSON.stringify(period))
    const { items } = (await admin.get(`/v1/mailboxes?name=${account.split('/').pop()}`)).body
    assert.deepEqual(items[0].login_blocked_by, expected)
  }
  assert.notEqual((await admin.get(path)).body.credentials.clear_text, null)
})

test('another end takes the place of the first, and no end takes its job away', async () => {
  const { name, account } = await newMailbox({ login_until: future })
  const { etag } = await admin.get(account)
  assert.equal((await admin.patch(account, { login_until: future })).etag, etag)
  await admin.patch(account, { login_until: farFuture })
  assert.deepEqual(await dueOf(name), [farFuture])
  await admin.patch(account, { login_from: past })
  assert.deepEqual(await dueOf(name), [farFuture])
  await admin.patch(account, { login_until: null })
  assert.deepEqual(await dueOf(name), [])
})

test('PUT sets it on the mailbox that is there, and changes nothing where it is so already', async () => {
  const { name, path, made } = await newMailbox()
  const body = { account: { login_until: '2097-04-01T00:00:00+09:00' } }
  const first = await admin.put(path, body)
  assert.equal(outcome(first), '200')
  assert.deepEqual(periodOf(first.body.account), [null, future])
  assert.deepEqual(await dueOf(name), [future])
  const account = await admin.get(`/v1/accounts/${name}`)
  assert.equal(outcome(await admin.put(path, body)), '200')
  assert.equal((await admin.get(`/v1/accounts/${name}`)).etag, account.etag)
  assert.equal(first.body.id, made.id)
})

test('linking an account sets it too', async () => {
  await admin.post('/v1/accounts', { name: 'linked', generate_password: true, login_from: past })
  const address = 'linked@example.jp'
  const link = (account: object) => admin.post('/v1/mailboxes', { address, create_account: false, account })
  assert.equal(
    outcome(await link({ login_until: '2026-01-01T00:00:00Z' })),
    '422 invalid-login-period',
    'before the login_from that is there',
  )
  const linked = await link({ login_until: future })
  assert.equal(outcome(linked), '201')
  assert.deepEqual(periodOf(linked.body.account), [past, future])
  assert.deepEqual(await dueOf('linked'), [future])
})

describe('what is no time to log in is refused, and nothing is left behind', () => {
  const reversed = { login_from: future, login_until: past }
  const periods: [what: string, period: object, refusal: string, pointer: string][] = [
    ['an end before the beginning', reversed, '422 invalid-login-period', '/login_until'],
    [
      'an end at the beginning',
      { login_from: past, login_until: past },
      '422 invalid-login-period',
      '/login_until',
    ],
    ['a year before 1970', { login_from: '1969-12-31T23:59:59Z' }, '422 invalid-login-period', '/login_from'],
    [
      'the year 10000',
      { login_until: '9999-12-31T23:59:59-01:00' },
      '422 invalid-login-period',
      '/login_until',
    ],
    ['a date', { login_until: '2027-03-31' }, '400 invalid-request', '/login_until'],
    [
      'a time without an offset',
      { login_until: '2027-03-31T12:00:00' },
      '400 invalid-request',
      '/login_until',
    ],
    ['a number', { login_until: 1_800_000_000 }, '400 invalid-request', '/login_until'],
  ]
  for (const [what, period, refusal, pointer] of periods) {
    test(what, async () => {
      const address = 'refused@example.jp'
      const mailbox = { generate_password: true, account: period }
      const answers = {
        POST: await admin.post('/v1/mailboxes', { address, ...mailbox }),
        PUT: await admin.put(`/v1/mailboxes/${address}`, mailbox),
        account: await admin.post('/v1/accounts', { name: 'refused', generate_password: true, ...period }),
      }
      for (const [way, answer] of Object.entries(answers)) {
        assert.equal(outcome(answer), refusal, way)
        assert.equal(answer.body.errors[0].pointer, way === 'account' ? pointer : `/account${pointer}`)
      }
      assert.equal(outcome(await admin.get('/v1/accounts/refused')), '404 account-not-found')
    })
  }

  test('one limit that does not fit the other one that is there', async () => {
    const { name, path, account } = await newMailbox({ login_from: future })
    for (const answer of [
      await admin.patch(account, { login_until: past }),
      await admin.put(path, { account: { login_until: past } }),
    ])
      assert.equal(outcome(answer), '422 invalid-login-period')
    assert.deepEqual(periodOf((await admin.get(account)).body), [future, null])
    assert.deepEqual(await dueOf(name), [])
    await assertInvariants(service.admin)
  })

  test('two limits that fit neither each other, set at once', async () => {
    const { account } = await newMailbox()
    const answers = await Promise.all([
      admin.patch(account, { login_from: future }),
      admin.patch(account, { login_until: past }),
    ])
    assert.deepEqual(answers.map(outcome).sort(), ['200', '422 invalid-login-period'])
  })
})

test('the table itself holds the rule', async () => {
  const { name } = await newMailbox()
  await assert.rejects(
    service.admin.query('update app.accounts set login_from = now(), login_until = now() where name = $1', [
      name,
    ]),
    { constraint: 'accounts_login_period_check' },
  )
})

test('a caller limited to some domains sets it in its own only', async () => {
  const { account, path } = await newMailbox()
  const limited = await service.as({ domains: ['other.jp'] })
  assert.equal(outcome(await limited.patch(account, { login_until: past })), '404 account-not-found')
  assert.deepEqual((await admin.get(path)).body.login_blocked_by, [])
  const own = await service.as({ domains: ['example.jp'] })
  assert.equal(outcome(await own.patch(account, { login_until: past })), '200')
  assert.deepEqual((await admin.get(path)).body.login_blocked_by, ['expired'])
})
