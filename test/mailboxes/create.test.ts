import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
for (const name of ['a.jp', 'b.jp', 'c.jp']) await admin.post('/v1/domains', { name })
const limited = await service.as({ domains: ['a.jp', 'b.jp'] })

const generated = { generate_password: true }
const create = (address: string, body: object = generated, caller = admin) =>
  caller.post('/v1/mailboxes', { address, ...body })
const makeAccount = (name: string, body: object = {}) =>
  admin.post('/v1/accounts', { name, ...generated, ...body })

/** How many rows of the name there are in each table. */
async function traces(name: string) {
  const { rows } = await service.admin.query(
    `select (select count(*) from app.addresses where name = $1)::int as addresses,
       (select count(*) from app.mailboxes where name = $1)::int as mailboxes,
       (select count(*) from app.accounts where name = $1)::int as accounts,
       (select count(*) from app.verifiers where name = $1)::int as verifiers`,
    [name],
  )
  return rows[0]
}
const nothing = { addresses: 0, mailboxes: 0, accounts: 0, verifiers: 0 }

test('makes the mailbox, its account and its verifiers', async () => {
  const created = await create('Hanako.Y@A.JP.', {
    password: 'correct horse battery',
    account: { display_name: 'Hanako', external_id: '1001' },
    quota_bytes: 5_000_000,
  })
  assert.equal(created.status, 201)
  assert.equal(created.headers.get('location'), '/v1/mailboxes/hanako.y@a.jp')
  const { body } = created
  assert.equal(body.address, 'hanako.y@a.jp')
  assert.equal(body.name, 'hanako.y')
  assert.equal(body.domain, 'a.jp')
  assert.deepEqual(body.account, {
    name: 'hanako.y',
    disabled: false,
    display_name: 'Hanako',
    external_id: '1001',
    login_from: null,
    login_until: null,
    password_set_at: body.account.password_set_at,
  })
  assert.deepEqual([body.quota_bytes, body.effective_quota_bytes], [5_000_000, 5_000_000])
  assert.deepEqual([body.state, body.purge_at, body.login_blocked_by], ['active', null, []])
  assert.equal('generated_password' in body, false)
  assert.deepEqual(await traces('hanako.y'), { addresses: 1, mailboxes: 1, accounts: 1, verifiers: 2 })
})

test('shows a generated password once', async () => {
  const created = await create('shown@a.jp')
  assert.equal(created.status, 201)
  const { generated_password: password, ...rest } = created.body
  assert.ok(password.length >= 20)
  const got = await admin.get('/v1/mailboxes/shown@a.jp')
  assert.deepEqual(got.body, rest)
  assert.equal(JSON.stringify(got.body).includes(password), false)
  assert.notEqual((await create('shown2@a.jp')).body.generated_password, password)
})

const n20 = 'n'.repeat(20)
const n21 = 'n'.repeat(21)
const n64 = 'n'.repeat(64)

const refusals: [string, object, string, string | undefined][] = [
  ['no @', { address: 'user', ...generated }, '422 invalid-address', '/address'],
  ['two @', { address: 'a@b@a.jp', ...generated }, '422 invalid-address', '/address'],
  [
    'a domain that cannot be one',
    { address: 'u@localhost', ...generated },
    '422 invalid-address',
    '/address',
  ],
  ['two trailing dots', { address: 'u@a.jp..', ...generated }, '422 invalid-address', '/address'],
  ['a display name', { address: 'U <u@a.jp>', ...generated }, '422 invalid-name', '/address'],
  ['a subaddress', { address: 'u+x@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['an empty name', { address: '@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['a leading period', { address: '.u@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['two periods', { address: 'u..u@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['NUL', { address: 'u\0@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['letters beyond ASCII', { address: 'ü@a.jp', ...generated }, '422 invalid-name', '/address'],
  ['21 characters for local', { address: `${n21}@a.jp`, ...generated }, '422 invalid-name', '/address'],
  [
    '65 characters',
    { address: `${n64}n@a.jp`, authentication: 'password_file' },
    '422 invalid-name',
    '/address',
  ],
  ['an unknown domain', { address: 'u@absent.jp', ...generated }, '422 unknown-domain', '/address'],
  ['a role name', { address: 'Admin@a.jp', ...generated }, '422 role-name-refused', '/address'],
  ['no password', { address: 'u@a.jp' }, '422 password-required', undefined],
  [
    'false for a password',
    { address: 'u@a.jp', generate_password: false },
    '422 password-required',
    undefined,
  ],
  [
    'no password for password_file',
    { address: 'u@a.jp', authentication: 'password_file' },
    '422 password-required',
    undefined,
  ],
  ['a short password', { address: 'u@a.jp', password: 'short' }, '422 password-too-weak', '/password'],
  [
    'a control character',
    { address: 'u@a.jp', password: 'a\tb\nc45678' },
    '422 password-not-accepted',
    '/password',
  ],
  [
    'both passwords',
    { address: 'u@a.jp', password: 'long enough', ...generated },
    '422 password-not-accepted',
    '/password',
  ],
  [
    'active_directory',
    { address: 'u@a.jp', ...generated, authentication: 'active_directory' },
    '422 authentication-unavailable',
    '/authentication',
  ],
  ['an unknown account', { address: 'u@a.jp', create_account: false }, '422 unknown-account', '/address'],
  ['no address', generated, '400 invalid-request', '/address'],
  ['an unknown member', { address: 'u@a.jp', ...generated, locked: true }, '400 invalid-request', '/locked'],
  ['129 characters', { address: 'u@a.jp', password: 'x'.repeat(129) }, '400 invalid-request', '/password'],
  ['a number for a password', { address: 'u@a.jp', password: 12345678 }, '400 invalid-request', '/password'],
  [
    'a text for a boolean',
    { address: 'u@a.jp', generate_password: 'true' },
    '400 invalid-request',
    '/generate_password',
  ],
  [
    'null for authentication',
    { address: 'u@a.jp', ...generated, authentication: null },
    '400 invalid-request',
    '/authentication',
  ],
  [
    'a text for a quota',
    { address: 'u@a.jp', ...generated, quota_bytes: '0' },
    '400 invalid-request',
    '/quota_bytes',
  ],
  [
    'an unknown member of account',
    { address: 'u@a.jp', ...generated, account: { name: 'v' } },
    '400 invalid-request',
    '/account/name',
  ],
  [
    'a line feed in a name',
    { address: 'u@a.jp', ...generated, account: { display_name: 'a\nb' } },
    '400 invalid-request',
    '/account/display_name',
  ],
  [
    'a bidi override',
    { address: 'u@a.jp', ...generated, account: { external_id: 'a\u202Eb' } },
    '400 invalid-request',
    '/account/external_id',
  ],
  [
    '201 characters',
    { address: 'u@a.jp', ...generated, account: { display_name: 'x'.repeat(201) } },
    '400 invalid-request',
    '/account/display_name',
  ],
]

for (const [what, body, expected, pointer] of refusals) {
  test(`refuses ${what} and leaves nothing behind`, async () => {
    const refused = await admin.post('/v1/mailboxes', body)
    assert.equal(outcome(refused), expected)
    assert.equal(refused.body.errors?.[0].pointer, pointer)
    assert.deepEqual(await traces('u'), nothing)
  })
}

describe('the length of a name', () => {
  test('is 20 for local accounts and 64 for password_file', async () => {
    assert.equal(outcome(await create(`${n20}@a.jp`)), '201')
    assert.equal(
      outcome(await create(`${n64}@a.jp`, { ...generated, authentication: 'password_file' })),
      '201',
    )
  })

  test('follows the setting local_name_max_length', async () => {
    await admin.patch('/v1/server', { local_name_max_length: 64 })
    assert.equal(outcome(await create(`${'m'.repeat(64)}@a.jp`)), '201')
    await admin.patch('/v1/server', { local_name_max_length: 5 })
    assert.equal(outcome(await create('sixsix@a.jp')), '422 invalid-name')
    assert.equal(
      outcome(await create('sixsix@a.jp', { ...generated, authentication: 'password_file' })),
      '201',
    )
    await admin.patch('/v1/server', { local_name_max_length: 20 })
  })
})

describe('role names', () => {
  test('need the flag and the scope', async () => {
    const allow = { ...generated, allow_role_name: true }
    const without = await service.as({ scopes: ['mailboxes:write'] })
    const refused = await create('postmaster@a.jp', allow, without)
    assert.equal(outcome(refused), '403 insufficient-scope')
    assert.match(refused.body.detail, /names:reserved/)
    assert.equal(outcome(await create('postmaster@a.jp', generated, without)), '422 role-name-refused')
    assert.deepEqual(await traces('postmaster'), nothing)
    assert.equal(outcome(await create('postmaster@a.jp', allow)), '201')
    assert.equal(outcome(await create('not-a-role@a.jp', allow, without)), '201')
  })
})

describe('the authentication of a new account', () => {
  test('is the one of the request, else of the domain, else of the server', async () => {
    await admin.post('/v1/domains', { name: 'file.jp', authentication: 'password_file' })
    const said = await create('auth1@file.jp', { ...generated, authentication: 'local' })
    assert.equal(said.body.authentication, 'local')
    assert.equal((await create('auth2@file.jp')).body.authentication, 'password_file')
    assert.equal((await create('auth3@a.jp')).body.authentication, 'local')
    await admin.patch('/v1/server', { authentication: 'password_file' })
    assert.equal((await create('auth4@a.jp')).body.authentication, 'password_file')
    await admin.patch('/v1/server', { authentication: 'local' })
  })
})

describe('create_account', () => {
  test('false gives an existing account the mailbox, and it keeps its password', async () => {
    await makeAccount('link1', { display_name: 'Before', external_id: '7' })
    const { rows: before } = await service.admin.query(`select * from app.verifiers where name = 'link1'`)
    const linked = await create('link1@a.jp', { create_account: false, account: { display_name: 'After' } })
    assert.equal(linked.status, 201)
    assert.equal(linked.body.account.display_name, 'After')
    assert.equal(linked.body.account.external_id, '7')
    assert.notEqual(linked.body.credentials.clear_text, null)
    const { rows: after } = await service.admin.query(`select * from app.verifiers where name = 'link1'`)
    assert.deepEqual(after, before)
    assert.equal((await admin.get('/v1/accounts/link1')).body.mailbox, 'link1@a.jp')
  })

  test('false refuses a password', async () => {
    await makeAccount('link2')
    for (const [member, value] of Object.entries({ password: 'long enough', generate_password: true })) {
      const refused = await create('link2@a.jp', { create_account: false, [member]: value })
      assert.equal(outcome(refused), '422 password-not-accepted')
      assert.equal(refused.body.errors[0].pointer, `/${member}`)
    }
    assert.equal((await traces('link2')).mailboxes, 0)
  })

  test('false refuses another authentication than the account has', async () => {
    await makeAccount('link3')
    const other = { create_account: false, authentication: 'password_file' }
    assert.equal(outcome(await create('link3@a.jp', other)), '409 authentication-differs')
    const same = { create_account: false, authentication: 'local' }
    assert.equal(outcome(await create('link3@a.jp', same)), '201')
  })

  test('false changes nothing of the account where the mailbox is refused', async () => {
    await admin.post('/v1/domains', { name: 'full.jp', mailbox_limit: 0 })
    await makeAccount('link4')
    const before = await admin.get('/v1/accounts/link4')
    const body = { create_account: false, account: { display_name: 'Changed', external_id: '9' } }
    assert.equal(outcome(await create('link4@absent.jp', body)), '422 unknown-domain')
    assert.equal(outcome(await create('link4@full.jp', body)), '409 mailbox-limit-reached')
    const after = await admin.get('/v1/accounts/link4')
    assert.deepEqual(after.body, before.body)
    assert.equal(after.etag, before.etag)
  })

  test('false needs accounts:write and all domains', async () => {
    await makeAccount('link5')
    const writer = await service.as({ scopes: ['mailboxes:write'] })
    const link = { create_account: false }
    assert.equal(outcome(await create('link5@a.jp', link, writer)), '403 insufficient-scope')
    assert.equal(outcome(await create('link5@a.jp', link, limited)), '403 insufficient-scope')
    assert.equal(outcome(await create('absent5@a.jp', link, limited)), '403 insufficient-scope')
  })

  test('true refuses an account that exists', async () => {
    await makeAccount('link6')
    const refused = await create('link6@a.jp', { ...generated, create_account: true })
    assert.equal(outcome(refused), '409 account-exists')
    assert.deepEqual(refused.body.conflict, { kind: 'account', address: 'link6' })
  })

  test('left out is what the server is set to', async () => {
    await makeAccount('link7')
    assert.equal(outcome(await create('link7@a.jp')), '409 account-exists')
    await admin.patch('/v1/server', { create_account_default: false })
    assert.equal(outcome(await create('link7@a.jp', {})), '201')
    assert.equal(outcome(await create('link8@a.jp', {})), '422 unknown-account')
    assert.equal(outcome(await create('link8@a.jp', generated)), '422 password-not-accepted')
    assert.equal(
      outcome(await create('link8@a.jp', { password: 'long enough' })),
      '422 password-not-accepted',
    )
    assert.equal(outcome(await create('link8@a.jp', {}, limited)), '403 insufficient-scope')
    assert.equal(outcome(await create('link8@a.jp', { ...generated, create_account: true })), '201')
    await admin.patch('/v1/server', { create_account_default: true })
  })
})

describe('a collision', () => {
  const conflictOf = async (...request: Parameters<typeof create>) => {
    const { status, body, ...rest } = await create(...request)
    const { purge_at, ...conflict } = body.conflict ?? {}
    const code = outcome({ status, body, ...rest })
    return { code, conflict: body.conflict && conflict, purge_at }
  }

  test('with the same address is mailbox-exists, also before the missing password', async () => {
    await create('same@a.jp')
    const expected = {
      code: '409 mailbox-exists',
      conflict: { kind: 'mailbox', address: 'same@a.jp' },
      purge_at: undefined,
    }
    for (const body of [generated, {}, { create_account: false }, { ...generated, quota_bytes: 1 }])
      assert.deepEqual(await conflictOf('SAME@a.jp', body), expected)
    assert.deepEqual(await conflictOf('same@a.jp', generated, limited), expected)
  })

  test('with a deleted mailbox of the same address is mailbox-deleted, with the time of its purge', async () => {
    await create('gone@a.jp')
    await admin.delete('/v1/mailboxes/gone@a.jp')
    const { items } = (await admin.get('/v1/mailboxes?state=deleted&name=gone')).body
    const expected = {
      code: '409 mailbox-deleted',
      conflict: { kind: 'mailbox', address: 'gone@a.jp' },
      purge_at: items[0].purge_at,
    }
    for (const address of ['gone@a.jp', 'gone@b.jp']) {
      assert.deepEqual(await conflictOf(address), expected)
      assert.deepEqual(await conflictOf(address, { create_account: false }), expected)
      assert.deepEqual(await conflictOf(address, generated, limited), expected)
    }
  })

  test('with the name in another domain is name-taken', async () => {
    await create('taken@a.jp')
    const expected = {
      code: '409 name-taken',
      conflict: { kind: 'mailbox', address: 'taken@a.jp' },
      purge_at: undefined,
    }
    assert.deepEqual(await conflictOf('taken@b.jp'), expected)
    assert.deepEqual(await conflictOf('taken@b.jp', { create_account: false }), expected)
    assert.deepEqual(await conflictOf('taken@b.jp', generated, limited), expected)
  })

  test('with anything outside the domains of the caller is a bare name-taken', async () => {
    await create('far1@c.jp')
    await create('far2@c.jp')
    await admin.delete('/v1/mailboxes/far2@c.jp')
    await makeAccount('far3')
    const bare = { code: '409 name-taken', conflict: undefined, purge_at: undefined }
    const answers = []
    for (const name of ['far1', 'far2', 'far3']) {
      assert.deepEqual(await conflictOf(`${name}@a.jp`, generated, limited), bare)
      const { instance: _, ...body } = (await create(`${name}@a.jp`, generated, limited)).body
      answers.push(body)
    }
    assert.deepEqual(answers[1], answers[0])
    assert.deepEqual(answers[2], answers[0])
  })

  test('with a held name is name-taken', async () => {
    await service.admin.query(
      `insert into app.accounts (name, state, authentication) values ('held', 'held', 'local')`,
    )
    assert.equal(outcome(await create('held@a.jp')), '409 name-taken')
    assert.equal(outcome(await create('held@a.jp', { create_account: false })), '409 name-taken')
    assert.deepEqual((await conflictOf('held@a.jp', generated, limited)).conflict, undefined)
  })

  test('with an alias of the same address is alias-exists, before any other', async () => {
    await service.admin.query(`insert into app.addresses values ('far1', 'a.jp', 'alias', false)`)
    const expected = {
      code: '409 alias-exists',
      conflict: { kind: 'alias', address: 'far1@a.jp' },
      purge_at: undefined,
    }
    assert.deepEqual(await conflictOf('far1@a.jp'), expected)
    assert.deepEqual(await conflictOf('far1@a.jp', generated, limited), expected)
    assert.equal(outcome(await create('far1@b.jp')), '409 name-taken')
  })

  test('costs no derivation of a password', async () => {
    await create('cheap@a.jp')
    const runs: unknown[] = []
    const { run } = service.derivations
    service.derivations.run = (work, signal) => {
      runs.push(work)
      return run(work, signal)
    }
    await create('cheap@a.jp')
    await create('cheap@b.jp', { password: 'long enough' })
    await create('u@absent.jp')
    assert.equal(runs.length, 0)
    await create('dear@a.jp')
    service.derivations.run = run
    assert.equal(runs.length, 1)
  })
})

describe('mailbox_limit', () => {
  test('counts active mailboxes only', async () => {
    await admin.post('/v1/domains', { name: 'two.jp', mailbox_limit: 2 })
    assert.equal(outcome(await create('lim1@two.jp')), '201')
    assert.equal(outcome(await create('lim2@two.jp')), '201')
    const refused = await create('lim3@two.jp')
    assert.equal(outcome(refused), '409 mailbox-limit-reached')
    assert.deepEqual(await traces('lim3'), nothing)
    assert.equal(outcome(await create('lim2@two.jp')), '409 mailbox-exists', 'a collision is told first')
    await admin.delete('/v1/mailboxes/lim1@two.jp')
    assert.equal(outcome(await create('lim3@two.jp')), '201')
    await admin.patch('/v1/domains/two.jp', { mailbox_limit: null })
    assert.equal(outcome(await create('lim4@two.jp')), '201')
  })
})

describe('a limited caller', () => {
  test('creates in its own domains, and a foreign domain is like one that is not there', async () => {
    assert.equal(outcome(await create('own1@a.jp', generated, limited)), '201')
    const [foreign, absent] = [
      await create('own2@c.jp', generated, limited),
      await create('own2@absent.jp', generated, limited),
    ]
    assert.equal(outcome(foreign), '422 unknown-domain')
    assert.equal(foreign.body.detail.replace('c.jp', 'absent.jp'), absent.body.detail)
    assert.deepEqual(await traces('own2'), nothing)
  })

  test('needs no more than mailboxes:write', async () => {
    const writer = await service.as({ scopes: ['mailboxes:write'], domains: ['b.jp'] })
    assert.equal(outcome(await create('own3@b.jp', generated, writer)), '201')
    const reader = await service.as({ scopes: ['mailboxes:read', 'accounts:write'], domains: ['b.jp'] })
    assert.equal(outcome(await create('own4@b.jp', generated, reader)), '403 insufficient-scope')
  })

  test('a locked domain may be filled', async () => {
    await admin.post('/v1/domains', { name: 'shut.jp', locked: true })
    const created = await create('own5@shut.jp')
    assert.equal(created.status, 201)
    assert.deepEqual(created.body.login_blocked_by, ['domain'])
  })
})
