import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { makeSealingPair, openSealed, type SealingPair } from '../support/sealing.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
await admin.post('/v1/domains', { name: 'a.jp' })

const helpDesk = await makeSealingPair('P-256', 'help-desk-2026')
let serial = 0
const newName = () => `sealed${++serial}`
const idempotent = () => ({ headers: { 'idempotency-key': `key-${++serial}` } })

interface Way {
  status: string
  send(caller: Client, name: string, body: object, headers?: object): Promise<Reply>
  /** What the payload says as its address. */
  address(name: string): string
}

/** Everything that can make a password; `name` is new, but for setPassword. */
const ways: Record<string, Way> = {
  createMailbox: {
    status: '201',
    send: (caller, name, body, options) =>
      caller.post('/v1/mailboxes', { address: `${name}@a.jp`, ...body }, options),
    address: (name) => `${name}@a.jp`,
  },
  'createMailbox with candidates': {
    status: '201',
    send: (caller, name, body, options) =>
      caller.post('/v1/mailboxes', { domain: 'A.JP.', name_candidates: [name], ...body }, options),
    address: (name) => `${name}@a.jp`,
  },
  ensureMailbox: {
    status: '201',
    send: (caller, name, body) => caller.put(`/v1/mailboxes/${name}@a.jp`, body),
    address: (name) => `${name}@a.jp`,
  },
  createAccount: {
    status: '201',
    send: (caller, name, body, options) => caller.post('/v1/accounts', { name, ...body }, options),
    address: (name) => name,
  },
  setPassword: {
    status: '200',
    send: async (caller, name, body) => {
      await admin.post('/v1/mailboxes', { address: `${name}@a.jp`, no_password: true })
      return caller.put(`/v1/accounts/${name}/password`, body)
    },
    address: (name) => `${name}@a.jp`,
  },
}

/** Whether the account's verifiers are of this password. */
async function assertIsPassword(name: string, password: string): Promise<void> {
  const { rows } = await service.admin.query(
    `select verifier from app.verifiers where name = $1 and mechanism = 'ARGON2ID'`,
    [name],
  )
  const { argon2Verify } = await import('hash-wasm')
  assert.ok(await argon2Verify({ password, hash: rows[0].verifier }))
}

const pairs: SealingPair[] = [
  helpDesk,
  ...(await Promise.all(['P-384', 'P-521', 'X25519', 2048, 3072].map((kind) => makeSealingPair(kind)))),
]

for (const [operation, { send, address, status }] of Object.entries(ways)) {
  describe(operation, () => {
    test('answers with the password sealed to the key, and not in clear', async () => {
      for (const pair of pairs) {
        const name = newName()
        const body = { generate_password: true, seal_password_to: pair.publicKey }
        const reply = await send(admin, name, body)
        assert.equal(outcome(reply), status)
        assert.equal('generated_password' in reply.body, false)
        const payload = await openSealed(reply.body.sealed_password, pair)
        assert.equal(payload.address, address(name))
        assert.ok(!JSON.stringify(reply.body).includes(payload.password))
        await assertIsPassword(name, payload.password)
      }
    })

    test('refuses a private key, repeats nothing of it and leaves nothing behind', async () => {
      const name = newName()
      const body = { generate_password: true, seal_password_to: helpDesk.privateKey }
      const reply = await send(admin, name, body)
      assert.equal(outcome(reply), '422 sealing-key-private')
      assert.equal(reply.body.errors[0].pointer, '/seal_password_to')
      const said = `${JSON.stringify(reply.body)}${service.log.join('')}`
      assert.ok(!said.includes(helpDesk.privateKey.d!))
      await assertNoPassword(name)
    })

    test('refuses a key that cannot be sealed to', async () => {
      const smallOrder = { kty: 'OKP', crv: 'X25519', x: Buffer.alloc(32).toString('base64url') }
      const weak = { ...helpDesk.publicKey, use: 'sig' }
      for (const key of [smallOrder, weak, {}]) {
        const name = newName()
        const reply = await send(admin, name, { generate_password: true, seal_password_to: key })
        assert.equal(outcome(reply), '422 sealing-key-unsuitable')
        await assertNoPassword(name)
      }
    })

    test('seals only what is generated', async () => {
      const key = { seal_password_to: helpDesk.publicKey }
      for (const body of [
        { ...key },
        { ...key, generate_password: false },
        { ...key, password: 'given 12345' },
      ]) {
        const reply = await send(admin, newName(), body)
        assert.equal(outcome(reply), '422 password-not-accepted')
        assert.equal(reply.body.errors[0].pointer, '/seal_password_to')
      }
    })

    test('a token that is bound to sealing makes passwords in no other way', async () => {
      const bound = await service.as({ passwordDelivery: 'sealed' })
      const password = 'Chosen-by-the-caller-1'
      for (const body of [
        { password },
        { generate_password: true },
        { password, seal_password_to: helpDesk.publicKey },
        { password, generate_password: true, seal_password_to: helpDesk.publicKey },
      ]) {
        const name = newName()
        const refused = await send(bound, name, body)
        assert.equal(outcome(refused), '403 insufficient-scope')
        assert.match(refused.body.detail, /seal_password_to/)
        assert.match(refused.headers.get('www-authenticate') ?? '', /error="insufficient_scope"/)
        await assertNoPassword(name)
      }
      const sealed = { generate_password: true, seal_password_to: helpDesk.publicKey }
      const reply = await send(bound, newName(), sealed)
      assert.equal(outcome(reply), status)
      await openSealed(reply.body.sealed_password, helpDesk)
    })
  })
}

async function assertNoPassword(name: string): Promise<void> {
  const { rows } = await service.admin.query('select from app.verifiers where name = $1', [name])
  assert.equal(rows.length, 0)
}

test('a bound token may make what has no password', async () => {
  const bound = await service.as({ passwordDelivery: 'sealed', domains: ['a.jp'] })
  const name = newName()
  const reply = await bound.post('/v1/mailboxes', { address: `${name}@a.jp`, no_password: true })
  assert.equal(outcome(reply), '201')
})

test('a bound token is refused before anything is looked up', async () => {
  const bound = await service.as({ passwordDelivery: 'sealed', domains: ['a.jp'] })
  for (const name of ['nobody', newName()])
    assert.equal(
      outcome(await bound.put(`/v1/accounts/${name}/password`, { generate_password: true })),
      '403 insufficient-scope',
    )
})

test('an account with a mailbox has its address in the payload, one without has its name', async () => {
  const name = newName()
  await admin.post('/v1/accounts', { name, no_password: true })
  const body = { generate_password: true, seal_password_to: helpDesk.publicKey }
  const set = await admin.put(`/v1/accounts/${name}/password`, body)
  assert.deepEqual(Object.keys(set.body), ['sealed_password'])
  assert.equal((await openSealed(set.body.sealed_password, helpDesk)).address, name)
})

for (const operation of ['createMailbox', 'createMailbox with candidates', 'createAccount'] as const) {
  test(`a repeated ${operation} has the sealed password again, since it is no secret`, async () => {
    const { send } = ways[operation]!
    const name = newName()
    const key = idempotent()
    const body = { generate_password: true, seal_password_to: helpDesk.publicKey }
    const first = await send(admin, name, body, key)
    const again = await send(admin, name, body, key)
    assert.deepEqual([outcome(first), outcome(again)], ['201', '201'])
    assert.equal(again.headers.get('idempotency-replayed'), 'true')
    assert.deepEqual(again.body, first.body)
    assert.equal('secret_omitted' in again.body, false)
    const { password } = await openSealed(again.body.sealed_password, helpDesk)
    await assertIsPassword(name, password)
    const { rows } = await service.admin.query(
      'select string_agg(body::text, $1) as all from app.idempotency_keys',
      [' '],
    )
    assert.ok(rows[0].all.includes(first.body.sealed_password) && !rows[0].all.includes(password))
  })
}

test('PUT seals nothing for a mailbox that is there', async () => {
  const name = newName()
  const body = { generate_password: true, seal_password_to: helpDesk.publicKey }
  assert.equal((await admin.put(`/v1/mailboxes/${name}@a.jp`, body)).body.password_applied, true)
  const again = await admin.put(`/v1/mailboxes/${name}@a.jp`, body)
  assert.deepEqual([again.status, again.body.password_applied], [200, false])
  assert.equal('sealed_password' in again.body, false)
})
