import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })

let created = 0
/** A mailbox in a domain of its own. */
async function newMailbox(domain: object = {}, mailbox: object = {}) {
  const at = `${++created}`
  const path = `/v1/domains/cred${at}.jp`
  assert.equal((await admin.post('/v1/domains', { name: `cred${at}.jp`, ...domain })).status, 201)
  const body = { address: `u${at}@cred${at}.jp`, generate_password: true, ...mailbox }
  const reply = await admin.post('/v1/mailboxes', body)
  assert.equal(reply.status, 201)
  const address: string = reply.body.address
  return { name: `u${at}`, address, domain: path, path: `/v1/mailboxes/${address}`, body: reply.body }
}

async function verifiers(name: string): Promise<Map<string, string>> {
  const { rows } = await service.admin.query('select * from app.verifiers where name = $1', [name])
  return new Map(rows.map((row) => [row.mechanism, row.verifier]))
}

/** The challenge–response mechanisms of the answer, or null. */
async function mechanisms(path: string): Promise<string[] | null> {
  return (await admin.get(path)).body.credentials.secure_password?.mechanisms ?? null
}

const setPassword = (name: string) =>
  admin.put(`/v1/accounts/${name}/password`, { password: 'another password' })

const clearText = (username: string) => ({ username, mechanisms: ['PLAIN', 'LOGIN'] })

test('both forms are in the answers of create, get, list and PATCH', async () => {
  const { address, name, path, body, domain } = await newMailbox()
  const expected = {
    clear_text: clearText(address),
    secure_password: { username: name, mechanisms: ['SCRAM-SHA-256'] },
    servers: [
      { protocol: 'pop3', host: 'localhost', port: 995, security: 'tls' },
      { protocol: 'imap', host: 'localhost', port: 993, security: 'tls' },
      { protocol: 'submission', host: 'localhost', port: 587, security: 'starttls' },
    ],
  }
  assert.deepEqual(body.credentials, expected)
  assert.deepEqual((await admin.get(path)).body.credentials, expected)
  assert.deepEqual((await admin.patch(path, { locked: true })).body.credentials, expected)
  assert.deepEqual((await admin.put(path, {})).body.credentials, expected)
  const list = await admin.get(`/v1/mailboxes?domain=${domain.split('/').at(-1)}`)
  assert.deepEqual(list.body.items[0].credentials, expected)
})

test('password_file has the clear-text form alone, and Argon2id alone', async () => {
  const { name, address, path, body } = await newMailbox({}, { authentication: 'password_file' })
  assert.deepEqual(body.credentials.clear_text, clearText(address))
  assert.equal(body.credentials.secure_password, null)
  assert.deepEqual([...(await verifiers(name)).keys()], ['ARGON2ID'])
  assert.equal((await setPassword(name)).status, 204)
  assert.deepEqual([...(await verifiers(name)).keys()], ['ARGON2ID'])
  assert.equal(await mechanisms(path), null)
})

test('require_secure_password takes the clear-text form away', async () => {
  const local = await newMailbox()
  const file = await newMailbox({}, { authentication: 'password_file' })
  await admin.patch('/v1/server', { require_secure_password: true })
  const [one, other] = [await admin.get(local.path), await admin.get(file.path)]
  await admin.patch('/v1/server', { require_secure_password: false })
  assert.equal(one.body.credentials.clear_text, null)
  assert.deepEqual(one.body.credentials.secure_password.mechanisms, ['SCRAM-SHA-256'])
  assert.equal(other.body.credentials.clear_text, null)
  assert.equal(other.body.credentials.secure_password, null)
})

test('an account without a password has neither form, and says why', async () => {
  const { name, path } = await newMailbox()
  await service.admin.query(
    `update app.accounts set password_set_at = null, mechanisms = '{}' where name = $1`,
    [name],
  )
  const { body } = await admin.get(path)
  assert.equal(body.credentials.clear_text, null)
  assert.equal(body.credentials.secure_password, null)
  assert.deepEqual(body.login_blocked_by, ['no-password'])
  await setPassword(name)
  assert.deepEqual((await admin.get(path)).body.login_blocked_by, [])
})

describe("a mechanism of the domain's list", () => {
  test('reaches an account at its next password change', async () => {
    const { name, domain, path } = await newMailbox()
    await admin.patch(domain, { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
    assert.deepEqual(await mechanisms(path), ['SCRAM-SHA-256'])
    assert.equal((await verifiers(name)).has('CRAM-MD5'), false)
    await setPassword(name)
    assert.deepEqual(await mechanisms(path), ['SCRAM-SHA-256', 'CRAM-MD5'])
    assert.deepEqual([...(await verifiers(name)).keys()].sort(), ['ARGON2ID', 'CRAM-MD5', 'SCRAM-SHA-256'])
  })

  test('is made for a new account at once', async () => {
    const { name, path } = await newMailbox({ secure_password_mechanisms: ['CRAM-MD5'] })
    assert.deepEqual(await mechanisms(path), ['CRAM-MD5'])
    assert.deepEqual([...(await verifiers(name)).keys()].sort(), ['ARGON2ID', 'CRAM-MD5'])
  })

  test('loses its verifiers at once when it is removed', async () => {
    const list = { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] }
    const [one, other] = [await newMailbox(list), await newMailbox(list)]
    const before = await verifiers(one.name)
    await admin.patch(one.domain, { secure_password_mechanisms: ['SCRAM-SHA-256'] })
    assert.deepEqual(await mechanisms(one.path), ['SCRAM-SHA-256'])
    before.delete('CRAM-MD5')
    assert.deepEqual(await verifiers(one.name), before, 'the others stay')
    assert.equal((await verifiers(other.name)).size, 3, 'other domains stay')
    await admin.patch(one.domain, list)
    assert.deepEqual(await mechanisms(one.path), ['SCRAM-SHA-256'], 'it does not come back by itself')
    await admin.patch(one.domain, { secure_password_mechanisms: [] })
    assert.equal(await mechanisms(one.path), null)
    assert.deepEqual([...(await verifiers(one.name)).keys()], ['ARGON2ID'])
  })

  test("loses them too when the domain goes back to the server's shorter list", async () => {
    const { name, domain } = await newMailbox({ secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
    await admin.patch(domain, { secure_password_mechanisms: null })
    assert.deepEqual([...(await verifiers(name)).keys()].sort(), ['ARGON2ID', 'SCRAM-SHA-256'])
  })

  test('leaves no verifier of a deleted mailbox behind', async () => {
    const { name, domain, path } = await newMailbox({ secure_password_mechanisms: ['CRAM-MD5'] })
    await admin.delete(path)
    await admin.patch(domain, { secure_password_mechanisms: [] })
    assert.deepEqual([...(await verifiers(name)).keys()], ['ARGON2ID'])
  })
})

describe("a mechanism of the server's list", () => {
  test('works for domains without a list and for accounts without a mailbox', async () => {
    await admin.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
    const plain = await newMailbox()
    const own = await newMailbox({ secure_password_mechanisms: ['CRAM-MD5'] })
    await admin.post('/v1/accounts', { name: 'alone', generate_password: true })
    assert.deepEqual(await mechanisms(plain.path), ['SCRAM-SHA-256', 'CRAM-MD5'])
    assert.equal((await verifiers('alone')).size, 3)

    await admin.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
    assert.deepEqual(await mechanisms(plain.path), ['SCRAM-SHA-256'])
    assert.equal((await verifiers(plain.name)).has('CRAM-MD5'), false)
    assert.equal((await verifiers('alone')).has('CRAM-MD5'), false)
    assert.deepEqual(await mechanisms(own.path), ['CRAM-MD5'], 'a domain with a list of its own keeps to it')
    assert.equal((await verifiers(own.name)).has('CRAM-MD5'), true)
  })
})

test('a linked account shows only what its new domain lists', async () => {
  await admin.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
  await admin.post('/v1/accounts', { name: 'linked', generate_password: true })
  await admin.post('/v1/domains', { name: 'link.jp', secure_password_mechanisms: ['SCRAM-SHA-256'] })
  const linked = await admin.post('/v1/mailboxes', { address: 'linked@link.jp', create_account: false })
  await admin.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
  assert.deepEqual(linked.body.credentials.secure_password.mechanisms, ['SCRAM-SHA-256'])
})

test("the servers are the domain's, else the server's, with the ports of the server", async () => {
  const { path, domain } = await newMailbox()
  const hosts = async () => {
    const { servers } = (await admin.get(path)).body.credentials
    return servers.map((one: { host: string; port: number }) => `${one.host}:${one.port}`)
  }
  const ports = { pop3s_port: 1995, imaps_port: 1993, submission_port: 1587 }
  await admin.patch('/v1/server', { mail_server: 'mail.server.jp', ...ports })
  assert.deepEqual(await hosts(), ['mail.server.jp:1995', 'mail.server.jp:1993', 'mail.server.jp:1587'])
  await admin.patch(domain, { mail_server: 'mail.domain.jp' })
  assert.deepEqual(await hosts(), ['mail.domain.jp:1995', 'mail.domain.jp:1993', 'mail.domain.jp:1587'])
  await admin.patch(domain, { mail_server: null })
  await admin.patch('/v1/server', { pop3s_port: null, imaps_port: null, submission_port: null })
  assert.deepEqual(await hosts(), ['mail.server.jp:995', 'mail.server.jp:993', 'mail.server.jp:587'])
})

test('a mailbox that no form of login is left for says so', async () => {
  await admin.post('/v1/domains', { name: 'formless.jp', secure_password_mechanisms: [] })
  const secure = await admin.post('/v1/mailboxes', {
    address: 'formless@formless.jp',
    password: 'MYSECRETPASSWORD',
  })
  assert.deepEqual(secure.body.login_blocked_by, [])
  await admin.patch('/v1/server', { require_secure_password: true })
  const { body } = await admin.get('/v1/mailboxes/formless@formless.jp')
  await admin.patch('/v1/server', { require_secure_password: false })
  assert.deepEqual(body.login_blocked_by, ['no-login-form'])
  assert.deepEqual([body.credentials.clear_text, body.credentials.secure_password], [null, null])
})
