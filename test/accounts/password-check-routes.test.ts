import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import { afterEach, describe, test } from 'node:test'
import { problem } from '../../src/problems.ts'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { startRaces, tally, until } from '../support/races.ts'

const { service, here, there } = await startRaces()
const { admin, derivations } = service
const password = 'Zürich im Regen 7'
const wrong = 'Genf in der Sonne 8'

for (const name of ['a.jp', 'b.jp']) await here.post('/v1/domains', { name })
for (const address of ['near@a.jp', 'far@b.jp', 'gone@a.jp', 'locked@a.jp', 'file@a.jp'])
  await here.post('/v1/mailboxes', { address, password })
await here.post('/v1/mailboxes', { address: 'filed@a.jp', password, authentication: 'password_file' })
await here.delete('/v1/mailboxes/gone@a.jp?account=delete')
await here.patch('/v1/mailboxes/locked@a.jp', { locked: true })
await here.patch('/v1/accounts/locked', { disabled: true })
await here.post('/v1/accounts', { name: 'alone', password })
await admin.query(`insert into app.accounts (name, authentication) values ('none', 'local')`)
const limited = await service.as({ scopes: ['passwords:check'], domains: ['a.jp'] })

/** As if some hours had passed. */
const forget = () => admin.query('delete from app.password_checks')
afterEach(forget)

const check = (name: string, text = password, client = here): Promise<Reply> =>
  client.post(`/v1/accounts/${name}/password/check`, { password: text })
const repeat = (count: number, ask: (i: number) => Promise<Reply>) =>
  Promise.all(Array.from({ length: count }, (_, i) => ask(i)))

async function valid(name: string, text?: string, client?: Client): Promise<boolean> {
  const reply = await check(name, text, client)
  assert.equal(outcome(reply), '200')
  assert.deepEqual(Object.keys(reply.body), ['valid'])
  return reply.body.valid
}

describe('the answer', () => {
  test('is true for the password alone, whatever the case of the name', async () => {
    for (const name of ['near', 'NEAR', 'far', 'alone', 'filed']) assert.equal(await valid(name), true, name)
    for (const text of [wrong, password.toUpperCase(), `${password} `, 'x', password.slice(1)])
      assert.equal(await valid('far', text), false)
  })

  test('is the same for the composed and the decomposed form', async () => {
    assert.notEqual(password.normalize('NFD'), password)
    assert.equal(await valid('near', password.normalize('NFD')), true)
  })

  test('is about the password, not about who may log in', async () => {
    assert.equal(await valid('locked'), true)
  })

  test('is false where there is no account, none that is active, or no password', async () => {
    for (const name of ['nobody', 'gone', 'none']) assert.equal(await valid(name), false, name)
  })

  test('is false for what lies outside of the domains of the caller', async () => {
    assert.equal(await valid('near', password, limited), true)
    for (const name of ['far', 'alone', 'nobody', 'gone'])
      assert.equal(await valid(name, password, limited), false, name)
  })

  test('follows the password', async () => {
    await here.put('/v1/accounts/alone/password', { password: wrong })
    assert.deepEqual([await valid('alone', password), await valid('alone', wrong)], [false, true])
  })

  test('is by the verifier that is there when its turn comes', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const slots = Array.from({ length: 64 }, () => derivations.run(() => promise))
    const waiting = derivations.waiting
    const asked = check('near', wrong)
    await until(() => derivations.waiting > waiting)
    await admin.query(
      `update app.verifiers as v set verifier = w.verifier from app.verifiers as w
       where v.name = 'near' and w.name = 'alone' and v.mechanism = 'ARGON2ID' and w.mechanism = 'ARGON2ID'`,
    )
    resolve()
    await Promise.all(slots)
    assert.deepEqual((await asked).body, { valid: true })
    await here.put('/v1/accounts/near/password', { password })
  })
})

test('refuses what cannot be the name of an account, and what can be no password', async () => {
  for (const name of ['near@a.jp', '%00', 'x'.repeat(65)])
    assert.equal(outcome(await check(name)), '404 account-not-found', name)
  for (const body of [{}, { password: '' }, { password: 'x'.repeat(129) }, { password, more: 1 }])
    assert.equal(outcome(await here.post('/v1/accounts/near/password/check', body)), '400 invalid-request')
  assert.equal((await admin.query('select from app.password_checks')).rows.length, 0)
})

test('needs passwords:check, which passwords:write does not include', async () => {
  const other = await service.as({ scopes: ['passwords:write', 'accounts:write'] })
  assert.equal(outcome(await check('near', password, other)), '403 insufficient-scope')
})

test('does the same work whatever the answer: one turn, one derivation', async () => {
  let argon2 = 0
  const hook = createHook({
    init: (_id, type) => {
      if (type === 'ARGON2REQUEST') argon2 += 1
    },
  }).enable()
  const { run } = derivations
  let turns = 0
  derivations.run = (work, signal) => {
    turns += 1
    return run(work, signal)
  }
  try {
    for (const [client, name, text] of [
      [limited, 'near', password],
      [limited, 'near', wrong],
      [limited, 'far', password],
      [limited, 'nobody', password],
      [here, 'none', password],
      [here, 'gone', password],
      [here, 'nobody', wrong],
    ] as const) {
      ;[turns, argon2] = [0, 0]
      await valid(name, text, client)
      assert.deepEqual([turns, argon2], [1, 1], `${name} ${text}`)
    }
  } finally {
    derivations.run = run
    hook.disable()
  }
})

describe('of one account', () => {
  for (const name of ['far', 'nobody', 'none']) {
    test(`five checks of ${name} may fail, on all replicas together`, async () => {
      const replies = await repeat(40, (i) => check(name, wrong, i % 2 === 0 ? here : there))
      assert.deepEqual(tally(replies), { '200': 5, '429 too-many-requests': 35 })
      for (const { status, headers } of replies) {
        const seconds = Number(headers.get('retry-after') ?? 0)
        assert.ok(status === 200 ? seconds === 0 : seconds >= 1 && seconds <= 60, `${status} ${seconds}`)
      }
      assert.equal(outcome(await check(name)), '429 too-many-requests', 'the right one as well')
      assert.equal(await valid('near'), true, 'another account')
    })
  }

  test('one more is let in each minute, and all after five', async () => {
    const after = async (minutes: number) => {
      const wait = `update app.password_checks set full_at = full_at - make_interval(mins => $1)`
      await admin.query(wait, [minutes])
      return tally(await repeat(10, (i) => check('far', wrong, i % 2 === 0 ? here : there)))
    }
    assert.deepEqual(await after(0), { '200': 5, '429 too-many-requests': 5 })
    assert.deepEqual(await after(1), { '200': 1, '429 too-many-requests': 9 })
    assert.deepEqual(await after(5), { '200': 5, '429 too-many-requests': 5 })
    assert.deepEqual(await after(600), { '200': 5, '429 too-many-requests': 5 })
  })

  test('those that do not fail cost nothing', async () => {
    for (let i = 0; i < 8; i += 1) assert.equal(await valid('far'), true)
    assert.deepEqual(tally(await repeat(8, () => check('far', wrong))), {
      '200': 5,
      '429 too-many-requests': 3,
    })
  })

  test('those that were not made cost nothing', async () => {
    const { run } = derivations
    derivations.run = () => Promise.reject(problem('busy', { retryAfterSeconds: 30 }))
    try {
      for (let i = 0; i < 8; i += 1) assert.equal(outcome(await check('far')), '503 busy')
    } finally {
      derivations.run = run
    }
    assert.equal(await valid('far'), true)
  })

  test('callers who do not see it cannot use up the checks of those who do', async () => {
    const replies = await repeat(8, () => check('far', wrong, limited))
    assert.deepEqual(tally(replies), { '200': 5, '429 too-many-requests': 3 })
    assert.equal(await valid('far'), true)
  })
})

test('a failed check is a security event that names nobody', async () => {
  const from = service.log.length
  await repeat(6, () => check('far', wrong, limited))
  await valid('near', password, limited)
  const lines = service.log.slice(from)
  const events = lines.map((line) => JSON.parse(line)).filter(({ event }) => event !== undefined)
  const names = events.map(({ event }) => event).sort()
  assert.deepEqual(names, [...Array(5).fill('password-check-failed'), 'password-check-throttled'])
  const { jti } = JSON.parse(Buffer.from(limited.token.split('.')[1] ?? '', 'base64url').toString())
  for (const { subject, token_id, address, account_sha256 } of events) {
    const digest = createHash('sha256').update('far').digest('hex')
    assert.deepEqual([subject, token_id, account_sha256], ['test', jti, digest])
    assert.match(address, /^(::ffff:)?127\./)
  }
  const all = lines.join('')
  for (const secret of [wrong, password, 'far"', '/far/', '$argon2id'])
    assert.ok(!all.includes(secret), secret)
})
