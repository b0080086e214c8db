import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
const path = '/v1/server'

test('begins with the defaults of the document', async () => {
  const { statistics, updated_at, ...settings } = (await admin.get(path)).body
  assert.ok(Date.parse(updated_at) <= Date.now())
  assert.deepEqual(
    { ...statistics, as_of: 0 },
    { domains: 0, mailboxes: 0, accounts: 0, messages: 0, bytes: 0, as_of: 0 },
  )
  assert.deepEqual(settings, {
    mail_server: 'localhost',
    pop3s_port: 995,
    imaps_port: 993,
    submission_port: 587,
    relay_networks: [],
    postmaster_address: null,
    authentication: 'local',
    create_account_default: true,
    secure_password_mechanisms: ['SCRAM-SHA-256'],
    require_secure_password: false,
    scram_iterations: 100_000,
    local_name_max_length: 20,
    password_min_length: 12,
    default_quota_bytes: 0,
    deleted_retention_days: 30,
    forward_allowed_domains: null,
    tokens_not_before: null,
  })
})

test('{} changes nothing, also while ports are at their defaults', async () => {
  const first = await admin.get(path)
  const after = await admin.patch(path, {})
  assert.equal(after.etag, first.etag)
  assert.equal(after.body.updated_at, first.body.updated_at)
})

const settings: [string, unknown, unknown?][] = [
  ['mail_server', 'mail.example.jp'],
  ['mail_server', 'MAIL2.example.jp.', 'mail2.example.jp'],
  ['pop3s_port', 1],
  ['pop3s_port', null, 995],
  ['imaps_port', 65535],
  ['imaps_port', null, 993],
  ['submission_port', 2587],
  ['submission_port', null, 587],
  ['postmaster_address', 'PostMaster@Example.JP', 'postmaster@example.jp'],
  ['postmaster_address', null],
  ['authentication', 'password_file'],
  ['authentication', 'local'],
  ['create_account_default', false],
  ['create_account_default', true],
  ['secure_password_mechanisms', []],
  ['secure_password_mechanisms', ['SCRAM-SHA-256', 'CRAM-MD5']],
  ['require_secure_password', true],
  ['require_secure_password', false],
  ['scram_iterations', 4096],
  ['scram_iterations', 1_000_000],
  ['local_name_max_length', 1],
  ['local_name_max_length', 64],
  ['default_quota_bytes', 9_007_199_254_740_991],
  ['default_quota_bytes', 0],
  ['deleted_retention_days', 0],
  ['deleted_retention_days', 3650],
  ['forward_allowed_domains', []],
  [
    'forward_allowed_domains',
    ['partner.example', 'BÜCHER.example'],
    ['partner.example', 'xn--bcher-kva.example'],
  ],
  ['forward_allowed_domains', null],
  ['tokens_not_before', '2020-01-01T01:00:00.5+01:00', '2020-01-01T00:00:00.500Z'],
  ['tokens_not_before', null],
]
for (const [member, value, stored = value] of settings) {
  test(`sets ${member} to ${JSON.stringify(value)} and nothing else`, async () => {
    const [, other] = settings.find(([name, one]) => name === member && !isDeepStrictEqual(one, value))!
    const before = await admin.patch(path, { [member]: other })
    const changed = await admin.patch(path, { [member]: value })
    assert.equal(changed.status, 200)
    const { statistics: _, ...rest } = before.body
    const { statistics: __, ...now } = changed.body
    assert.deepEqual(now, { ...rest, [member]: stored, updated_at: now.updated_at })
    assert.notEqual(changed.etag, before.etag)
    const got = await admin.get(path)
    assert.deepEqual(got.body[member], stored)
    assert.equal(got.etag, changed.etag)

    const same = await admin.patch(path, { [member]: value })
    assert.equal(same.etag, changed.etag, 'an equal edit changes nothing')
    assert.equal(same.body.updated_at, changed.body.updated_at)
  })
}

test('what is left out keeps its value, also where the document names a default', async () => {
  const ports = { pop3s_port: 1995, imaps_port: 1993, submission_port: 1587 }
  const set = await admin.patch(path, ports)
  assert.equal((await admin.patch(path, {})).etag, set.etag)
  const { body } = await admin.patch(path, { imaps_port: 2993, default_quota_bytes: 1 })
  assert.deepEqual([body.pop3s_port, body.imaps_port, body.submission_port], [1995, 2993, 1587])
  await admin.patch(path, { imaps_port: null, pop3s_port: null, submission_port: null })
})

test('a usual port and null are the same edit', async () => {
  const first = await admin.patch(path, { pop3s_port: null })
  assert.equal((await admin.patch(path, { pop3s_port: 995 })).etag, first.etag)
})

const refusals: [string, unknown, string][] = [
  ['mail_server', 'a_b', '422 invalid-domain-name'],
  ['mail_server', '', '422 invalid-domain-name'],
  ['mail_server', null, '400 invalid-request'],
  ['pop3s_port', 0, '400 invalid-request'],
  ['imaps_port', 65536, '400 invalid-request'],
  ['submission_port', '587', '400 invalid-request'],
  ['postmaster_address', 'postmaster', '422 invalid-address'],
  ['postmaster_address', '', '422 invalid-address'],
  ['postmaster_address', 'a b@example.jp', '422 invalid-address'],
  ['authentication', 'active_directory', '422 authentication-unavailable'],
  ['authentication', null, '400 invalid-request'],
  ['authentication', 'ldap', '400 invalid-request'],
  ['create_account_default', null, '400 invalid-request'],
  ['secure_password_mechanisms', null, '400 invalid-request'],
  ['secure_password_mechanisms', 'SCRAM-SHA-256', '400 invalid-request'],
  ['secure_password_mechanisms', ['CRAM-MD5', 'CRAM-MD5'], '400 invalid-request'],
  ['require_secure_password', 'true', '400 invalid-request'],
  ['scram_iterations', 4095, '400 invalid-request'],
  ['scram_iterations', 1_000_001, '400 invalid-request'],
  ['local_name_max_length', 0, '400 invalid-request'],
  ['local_name_max_length', 65, '400 invalid-request'],
  ['default_quota_bytes', -1, '400 invalid-request'],
  ['default_quota_bytes', null, '400 invalid-request'],
  ['deleted_retention_days', -1, '400 invalid-request'],
  ['deleted_retention_days', 3651, '400 invalid-request'],
  ['deleted_retention_days', 1.5, '400 invalid-request'],
  ['forward_allowed_domains', 'example.jp', '400 invalid-request'],
  ['tokens_not_before', 'yesterday', '400 invalid-request'],
  ['tokens_not_before', '2120-01-01T00:00:00Z', '400 invalid-request'],
  ['statistics', {}, '400 invalid-request'],
  ['tokens', 1, '400 invalid-request'],
]
for (const [member, value, expected] of refusals) {
  test(`refuses ${member}: ${JSON.stringify(value)}, and what came with it`, async () => {
    const before = await admin.get(path)
    const refused = await admin.patch(path, { pop3s_port: 4711, [member]: value })
    assert.equal(outcome(refused), expected)
    assert.equal(refused.body.errors[0].pointer, `/${member}`)
    assert.equal((await admin.get(path)).etag, before.etag)
  })
}

test('says which of the domains to forward to is none', async () => {
  const refused = await admin.patch(path, { forward_allowed_domains: ['partner.example', 'a_b.example'] })
  assert.equal(outcome(refused), '422 invalid-domain-name')
  assert.equal(refused.body.errors[0].pointer, '/forward_allowed_domains/1')
})

describe('rights', () => {
  test('server:read reads, server:write changes, mailflow:write is for the mail server', async () => {
    const reader = await service.as({ scopes: ['server:read'] })
    assert.equal((await reader.get(path)).status, 200)
    assert.equal(outcome(await reader.patch(path, {})), '403 insufficient-scope')
    const writer = await service.as({ scopes: ['server:write'] })
    assert.equal((await writer.get(path)).status, 200)
    assert.equal((await writer.patch(path, { pop3s_port: 2995 })).body.pop3s_port, 2995)
    const refused = await writer.patch(path, { mail_server: 'mail.example.jp', pop3s_port: 3995 })
    assert.equal(outcome(refused), '403 insufficient-scope')
    assert.match(refused.body.detail, /mailflow:write/)
    assert.equal((await admin.get(path)).body.pop3s_port, 2995)
    assert.equal(
      outcome(await writer.patch(path, { forward_allowed_domains: null })),
      '403 insufficient-scope',
    )
    const flow = await service.as({ scopes: ['mailflow:write'] })
    assert.equal(
      outcome(await flow.patch(path, { mail_server: 'mail.example.jp' })),
      '403 insufficient-scope',
    )
  })

  test('are not for limited callers', async () => {
    const limited = await service.as({ domains: ['example.jp'] })
    assert.equal(outcome(await limited.get(path)), '403 insufficient-scope')
    assert.equal(outcome(await limited.patch(path, { pop3s_port: 1 })), '403 insufficient-scope')
  })
})

describe('statistics', () => {
  before(() => admin.patch(path, { local_name_max_length: 20, scram_iterations: 4096 }))
  const statistics = async () => {
    const { as_of, ...counts } = (await admin.get(path)).body.statistics
    assert.ok(Math.abs(Date.parse(as_of) - Date.now()) < 60_000)
    return counts
  }

  test('count what is active', async () => {
    const start = await statistics()
    assert.deepEqual(start, { domains: 0, mailboxes: 0, accounts: 0, messages: 0, bytes: 0 })
    const creates: [string, object][] = [
      ...['s1.jp', 's2.jp'].map((name): [string, object] => ['domains', { name }]),
      ...['u1@s1.jp', 'u2@s1.jp', 'u3@s2.jp'].map((address): [string, object] => ['mailboxes', { address }]),
      ['accounts', { name: 'u4' }],
    ]
    for (const [kind, body] of creates) {
      const secret = kind === 'domains' ? {} : { generate_password: true }
      assert.equal(outcome(await admin.post(`/v1/${kind}`, { ...body, ...secret })), '201')
    }
    assert.deepEqual(await statistics(), { domains: 2, mailboxes: 3, accounts: 4, messages: 0, bytes: 0 })
    const deletions = ['mailboxes/u1@s1.jp', 'mailboxes/u2@s1.jp?account=delete']
    for (const one of [...deletions, 'domains/s2.jp?mailboxes=delete&expect=1'])
      assert.equal(outcome(await admin.delete(`/v1/${one}`)), '204')
    assert.deepEqual(await statistics(), { domains: 1, mailboxes: 0, accounts: 3, messages: 0, bytes: 0 })
  })

  test('do not move the version of the settings', async () => {
    const { etag } = await admin.get(path)
    await admin.post('/v1/domains', { name: 's3.jp' })
    assert.equal((await admin.get(path)).etag, etag)
  })
})
