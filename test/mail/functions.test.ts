import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { argon2Verify } from 'hash-wasm'
import { argon2idParameters } from '../../src/accounts/verifiers.ts'
import { connectAs } from '../support/mail.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const reader = await connectAs(service.admin.options.connectionString ?? '', 'read')
after(() => reader.end())

const password = 'MYSECRETPASSWORD'
const both = ['SCRAM-SHA-256', 'CRAM-MD5']

interface PassdbRow {
  user: string | null
  password: string
  userdb_home: string | null
  userdb_quota_rule: string | null
  userdb_quota_storage_size: string | null
}

async function passdb(login: string | null, mechanism: string | null): Promise<PassdbRow[]> {
  const { rows } = await reader.query<PassdbRow>("select * from mail.passdb($1, $2, 'imap')", [
    login,
    mechanism,
  ])
  return rows
}

async function userdb(address: string, protocol = 'lmtp') {
  return (await reader.query('select * from mail.userdb($1, $2)', [address, protocol])).rows
}

/** The one column of the functions that Postfix calls. */
async function ask(name: 'mailbox' | 'alias' | 'sender_login', localPart: string, domain: string) {
  const { rows } = await reader.query(`select r from mail.${name}($1, $2) as r`, [localPart, domain])
  return rows.map(({ r }) => r)
}

async function storedVerifier(name: string, mechanism: string): Promise<string | undefined> {
  const { rows } = await service.admin.query(
    'select verifier from app.verifiers where name = $1 and mechanism = $2',
    [name, mechanism],
  )
  return rows[0]?.verifier
}

/** `real` where the stored verifier is given, else `decoy`; `none` where there is no row. */
async function kindOf(login: string, mechanism: string): Promise<string> {
  const [row, ...more] = await passdb(login, mechanism)
  assert.deepEqual(more, [])
  if (!row) return 'none'
  const kind = ['PLAIN', 'LOGIN'].includes(mechanism.toUpperCase()) ? 'ARGON2ID' : mechanism
  const name = login.split('@')[0]!.toLowerCase()
  const isReal = row.password === `{${kind}}${await storedVerifier(name, kind)}`
  assert.equal(row.user !== null, isReal)
  assert.equal(row.userdb_home !== null, isReal)
  if (!isReal) assert.match(row.password, shapes[kind]!)
  return isReal ? 'real' : 'decoy'
}

const { memory, passes, parallelism } = argon2idParameters
const shapes: Record<string, RegExp> = {
  ARGON2ID: new RegExp(
    `^\\{ARGON2ID\\}\\$argon2id\\$v=19\\$m=${memory},t=${passes},p=${parallelism}\\$[A-Za-z0-9+/]{22}\\$[A-Za-z0-9+/]{43}$`,
  ),
  'SCRAM-SHA-256': /^\{SCRAM-SHA-256\}4096,[A-Za-z0-9+/]{22}==,[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}=$/,
  'CRAM-MD5': /^\{CRAM-MD5\}[0-9a-f]{64}$/,
}

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['example.jp', 'cram.jp', 'locked.jp', 'strict.jp'])
    await admin.post('/v1/domains', { name })
  await admin.patch('/v1/domains/cram.jp', { secure_password_mechanisms: both })
  for (const address of ['user05@example.jp', 'user06@cram.jp', 'inside@locked.jp', 'locked@example.jp'])
    assert.equal((await admin.post('/v1/mailboxes', { address, password })).status, 201)
  for (const address of ['disabled@example.jp', 'deleted@example.jp'])
    await admin.post('/v1/mailboxes', { address, password })
  await admin.post('/v1/mailboxes', { address: 'file@example.jp', password, authentication: 'password_file' })
  await admin.post('/v1/accounts', { name: 'lonely', password })
  await admin.patch('/v1/domains/locked.jp', { locked: true })
  await admin.patch('/v1/mailboxes/locked@example.jp', { locked: true })
  await admin.patch('/v1/accounts/disabled', { disabled: true })
  await admin.delete('/v1/mailboxes/deleted@example.jp')
})

describe('mail.passdb', () => {
  const logins: [login: string, mechanism: string, given: string][] = [
    ['user05@example.jp', 'PLAIN', 'real'],
    ['user05@example.jp', 'LOGIN', 'real'],
    ['USER05@Example.JP', 'plain', 'real'],
    ['user05@example.jp', 'SCRAM-SHA-256', 'real'],
    ['user05', 'SCRAM-SHA-256', 'real'],
    ['User05', 'SCRAM-SHA-256', 'real'],
    ['user05', 'PLAIN', 'decoy'],
    ['user05', 'LOGIN', 'decoy'],
    ['user05@cram.jp', 'PLAIN', 'decoy'],
    ['user05@cram.jp', 'SCRAM-SHA-256', 'decoy'],
    ['user05@', 'SCRAM-SHA-256', 'decoy'],
    ['user05@example.jp@', 'PLAIN', 'decoy'],
    ['user05', 'CRAM-MD5', 'decoy'],
    ['user06', 'CRAM-MD5', 'real'],
    ['user06@cram.jp', 'CRAM-MD5', 'real'],
    ['user06', 'SCRAM-SHA-256', 'real'],
    ['file@example.jp', 'PLAIN', 'real'],
    ['file@example.jp', 'SCRAM-SHA-256', 'decoy'],
    ['file', 'SCRAM-SHA-256', 'decoy'],
    ['nobody@example.jp', 'PLAIN', 'decoy'],
    ['nobody', 'SCRAM-SHA-256', 'decoy'],
    ['nobody', 'CRAM-MD5', 'decoy'],
    ['lonely', 'SCRAM-SHA-256', 'decoy'],
    ['locked@example.jp', 'PLAIN', 'decoy'],
    ['locked', 'SCRAM-SHA-256', 'decoy'],
    ['inside@locked.jp', 'PLAIN', 'decoy'],
    ['inside', 'SCRAM-SHA-256', 'decoy'],
    ['disabled@example.jp', 'PLAIN', 'decoy'],
    ['disabled', 'SCRAM-SHA-256', 'decoy'],
    ['deleted@example.jp', 'PLAIN', 'decoy'],
    ['deleted', 'SCRAM-SHA-256', 'decoy'],
    ['', 'PLAIN', 'decoy'],
    ['user05', 'NTLM', 'none'],
    ['user05', '', 'none'],
  ]
  for (const [login, mechanism, given] of logins) {
    test(`gives ${given} for ${login} with ${mechanism}`, async () => {
      assert.equal(await kindOf(login, mechanism), given)
    })
  }

  test('gives a verifier that the password fits, and the mailbox that both forms share', async () => {
    const [full] = await passdb('user05@example.jp', 'PLAIN')
    const [bare] = await passdb('user05', 'SCRAM-SHA-256')
    assert.ok(full && bare)
    assert.equal(await argon2Verify({ password, hash: full.password.replace('{ARGON2ID}', '') }), true)
    const { id } = (await admin.get('/v1/mailboxes/user05@example.jp')).body
    const { password: _, ...shared } = bare
    assert.deepEqual(shared, {
      user: 'user05@example.jp',
      userdb_home: `${id.slice(0, 2)}/${id}`,
      userdb_quota_rule: '*:bytes=0',
      userdb_quota_storage_size: 'unlimited',
    })
    assert.deepEqual({ ...full, password: '' }, { ...shared, password: '' })
  })

  test('gives the same decoy at each call, and another to each name', async () => {
    for (const mechanism of ['PLAIN', 'SCRAM-SHA-256', 'CRAM-MD5']) {
      const [first] = await passdb('nobody@example.jp', mechanism)
      const [again] = await passdb('NOBODY@example.jp', mechanism)
      const [other] = await passdb('noone@example.jp', mechanism)
      assert.ok(first && again && other)
      assert.equal(first.password, again.password)
      assert.notEqual(first.password, other.password)
    }
  })

  test('shows by no salt whether a name is locked, or lives in another domain', async () => {
    const saltOf = async (login: string) => (await passdb(login, 'SCRAM-SHA-256'))[0]?.password.split(',')[1]
    const salt = await saltOf('user05')
    assert.equal(await saltOf('user05@cram.jp'), salt)
    assert.equal(await saltOf('nobody'), await saltOf('nobody@cram.jp'))
    await admin.patch('/v1/mailboxes/user05@example.jp', { locked: true })
    assert.equal(await saltOf('user05'), salt)
    assert.equal(await kindOf('user05', 'SCRAM-SHA-256'), 'decoy')
    await admin.patch('/v1/mailboxes/user05@example.jp', { locked: false })
    assert.equal(await kindOf('user05', 'SCRAM-SHA-256'), 'real')
  })

  test('gives the same verifiers again for a mailbox that is restored', async () => {
    const address = 'back@example.jp'
    await admin.post('/v1/mailboxes', { address, password })
    const before = [await passdb(address, 'PLAIN'), await passdb('back', 'SCRAM-SHA-256')]
    await admin.delete(`/v1/mailboxes/${address}?account=delete`)
    assert.deepEqual(await ask('mailbox', 'back', 'example.jp'), [])
    assert.equal(await kindOf('back', 'SCRAM-SHA-256'), 'decoy')
    await admin.post(`/v1/mailboxes/${address}/restore`)
    assert.deepEqual([await passdb(address, 'PLAIN'), await passdb('back', 'SCRAM-SHA-256')], before)
    assert.equal(await kindOf(address, 'PLAIN'), 'real')
    for (const name of ['mailbox', 'sender_login'] as const)
      assert.deepEqual(await ask(name, 'back', 'example.jp'), [address])
    assert.equal((await userdb(address)).length, 1)
  })

  test('gives them again for the mailboxes of a domain that is restored', async () => {
    await admin.post('/v1/domains', { name: 'returns.jp' })
    await admin.post('/v1/mailboxes', { address: 'returns@returns.jp', password })
    const domain = async () => (await reader.query(`select mail.domain('returns.jp')`)).rowCount
    await admin.delete('/v1/domains/returns.jp?mailboxes=delete&expect=1&accounts=delete')
    assert.deepEqual([await domain(), await kindOf('returns@returns.jp', 'PLAIN')], [0, 'decoy'])
    await admin.post('/v1/domains/returns.jp/restore')
    assert.deepEqual([await domain(), await kindOf('returns@returns.jp', 'PLAIN')], [1, 'real'])
    assert.equal(await kindOf('returns', 'SCRAM-SHA-256'), 'real')
    assert.deepEqual(await ask('mailbox', 'returns', 'returns.jp'), ['returns@returns.jp'])
  })

  test('refuses at once a mechanism that the domain no longer lists', async () => {
    await admin.post('/v1/mailboxes', { address: 'user07@strict.jp', password })
    assert.equal(await kindOf('user07', 'SCRAM-SHA-256'), 'real')
    await admin.patch('/v1/domains/strict.jp', { secure_password_mechanisms: [] })
    assert.equal(await kindOf('user07', 'SCRAM-SHA-256'), 'decoy')
    // a verifier that is there and not listed does not count
    await service.admin.query("insert into app.verifiers values ('user07', 'CRAM-MD5', $1)", ['0'.repeat(64)])
    assert.equal(await kindOf('user07', 'CRAM-MD5'), 'decoy')
  })

  test('refuses clear-text logins while a secure password is required', async () => {
    await admin.patch('/v1/server', { require_secure_password: true })
    assert.equal(await kindOf('user05@example.jp', 'PLAIN'), 'decoy')
    assert.equal(await kindOf('user05', 'SCRAM-SHA-256'), 'real')
    await admin.patch('/v1/server', { require_secure_password: false })
    assert.equal(await kindOf('user05@example.jp', 'PLAIN'), 'real')
  })
})

describe('mail.userdb', () => {
  test('gives folder and quota: the mailbox’s own, else the domain’s, else the server’s', async () => {
    const quotas = async () =>
      (await userdb('user06@cram.jp')).map((row) => [row.quota_rule, row.quota_storage_size])
    assert.deepEqual(await quotas(), [['*:bytes=0', 'unlimited']])
    await admin.patch('/v1/domains/cram.jp', { default_quota_bytes: 20_000 })
    assert.deepEqual(await quotas(), [['*:bytes=20000', '20000B']])
    await admin.patch('/v1/mailboxes/user06@cram.jp', { quota_bytes: 5_000_000_000 })
    assert.deepEqual(await quotas(), [['*:bytes=5000000000', '5000000000B']])
    await admin.patch('/v1/mailboxes/user06@cram.jp', { quota_bytes: 0 })
    assert.deepEqual(await quotas(), [['*:bytes=0', 'unlimited']])
  })

  const addresses: [address: string, protocol: string, users: string[]][] = [
    ['user05@example.jp', 'lmtp', ['user05@example.jp']],
    ['USER05+detail@EXAMPLE.jp', 'lmtp', ['user05@example.jp']],
    ['locked@example.jp', 'lmtp', ['locked@example.jp']],
    ['inside@locked.jp', 'lmtp', ['inside@locked.jp']],
    ['disabled@example.jp', 'lmtp', ['disabled@example.jp']],
    ['deleted@example.jp', 'lmtp', []],
    ['deleted@example.jp', 'doveadm', ['deleted@example.jp']],
    ['user05', 'lmtp', []],
    ['user05@cram.jp', 'lmtp', []],
    ['nobody@example.jp', 'doveadm', []],
    ['example.jp', 'lmtp', []],
  ]
  for (const [address, protocol, users] of addresses) {
    test(`finds ${users.length} for ${address} over ${protocol}`, async () => {
      assert.deepEqual(
        (await userdb(address, protocol)).map((row) => row.user),
        users,
      )
    })
  }
})

describe('what Postfix asks', () => {
  test('knows active domains, locked ones too', async () => {
    const known = async (name: string) => (await reader.query('select * from mail.domain($1)', [name])).rows
    for (const name of ['example.jp', 'EXAMPLE.JP', 'locked.jp'])
      assert.equal((await known(name)).length, 1, name)
    for (const name of ['example.org', '', 'jp', '%']) assert.deepEqual(await known(name), [], name)
    await admin.post('/v1/domains', { name: 'gone.jp' })
    await admin.post('/v1/mailboxes', { address: 'gone@gone.jp', password })
    await admin.delete('/v1/domains/gone.jp?mailboxes=delete&expect=1')
    assert.deepEqual(await known('gone.jp'), [])
    assert.deepEqual(await ask('mailbox', 'gone', 'gone.jp'), [])
  })

  test('finds the mailboxes that take mail, with and without a detail', async () => {
    for (const name of ['user05', 'USER05', 'user05+detail', 'locked', 'disabled'])
      assert.deepEqual(await ask('mailbox', name, 'example.jp'), [
        `${name.split('+')[0]!.toLowerCase()}@example.jp`,
      ])
    for (const name of ['deleted', 'nobody', 'lonely', '', '+', 'user0_', '%'])
      assert.deepEqual(await ask('mailbox', name, 'example.jp'), [], name)
    assert.deepEqual(await ask('mailbox', 'user05', 'cram.jp'), [])
  })

  test('lets nobody but the mailbox itself send as its address', async () => {
    assert.deepEqual(await ask('sender_login', 'user05', 'example.jp'), ['user05@example.jp'])
    assert.deepEqual(await ask('sender_login', 'user05+shop', 'example.jp'), ['user05@example.jp'])
    for (const name of ['postmaster', 'nobody', 'deleted', ''])
      assert.deepEqual(await ask('sender_login', name, 'example.jp'), [], name)
  })

  test('sends postmaster and abuse where the domain says, else where the server says', async () => {
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), [])
    await admin.patch('/v1/server', { postmaster_address: 'user05@example.jp' })
    for (const name of ['postmaster', 'abuse', 'Postmaster', 'abuse+x'])
      assert.deepEqual(await ask('alias', name, 'cram.jp'), ['user05@example.jp'], name)
    await admin.patch('/v1/domains/cram.jp', { postmaster_address: 'user06@cram.jp' })
    assert.deepEqual(await ask('alias', 'postmaster', 'cram.jp'), ['user06@cram.jp'])
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), ['user05@example.jp'])
    for (const [name, domain] of [
      ['user05', 'example.jp'],
      ['webmaster', 'example.jp'],
      ['postmaster', 'example.org'],
      ['postmaster', ''],
      ['', 'example.jp'],
    ] as const)
      assert.deepEqual(await ask('alias', name, domain), [], `${name}@${domain}`)
  })

  test('leaves postmaster to the mailbox of that name while there is one', async () => {
    await admin.patch('/v1/server', { postmaster_address: 'postmaster@example.jp' })
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), [], 'it would stand for itself')
    await admin.post('/v1/mailboxes', { address: 'postmaster@example.jp', password, allow_role_name: true })
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), [])
    assert.deepEqual(await ask('alias', 'abuse', 'example.jp'), ['postmaster@example.jp'])
    await admin.patch('/v1/server', { postmaster_address: 'user05@example.jp' })
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), [])
    await admin.delete('/v1/mailboxes/postmaster@example.jp')
    assert.deepEqual(await ask('alias', 'postmaster', 'example.jp'), ['user05@example.jp'])
  })
})

test('tells whether any active list has CRAM-MD5', async () => {
  const offers = async () => (await reader.query('select mail.offers_cram_md5() as yes')).rows[0].yes
  assert.equal(await offers(), true)
  await admin.patch('/v1/domains/cram.jp', { secure_password_mechanisms: null })
  assert.equal(await offers(), false)
  await admin.patch('/v1/server', { secure_password_mechanisms: both })
  assert.equal(await offers(), true)
  await admin.patch('/v1/server', { secure_password_mechanisms: ['SCRAM-SHA-256'] })
  assert.equal(await offers(), false)
})
