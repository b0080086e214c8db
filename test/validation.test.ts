import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome, type Reply } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const admin = await service.as()

before(async () => {
  await admin.post('/v1/domains', { name: 'example.jp' })
  await admin.post('/v1/mailboxes', { address: 'user05@example.jp', generate_password: true })
})

/** The pointers of a refusal, in the order of the text. */
function pointers(reply: Reply): string[] {
  assert.equal(outcome(reply), '400 invalid-request')
  return reply.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort()
}

describe('bodies are taken as they are sent', () => {
  const refused: [string, unknown][] = [
    ['/locked', { locked: 'true' }],
    ['/locked', { locked: 1 }],
    ['/locked', { locked: 0 }],
    ['/locked', { locked: '' }],
    ['/locked', { locked: null }],
    ['/locked', { locked: [true] }],
    ['/quota_bytes', { quota_bytes: '5' }],
    ['/quota_bytes', { quota_bytes: 5.5 }],
    ['/quota_bytes', { quota_bytes: -1 }],
    ['/quota_bytes', { quota_bytes: 2 ** 53 }],
    ['/quota_bytes', { quota_bytes: true }],
    ['/quota_bytes', { quota_bytes: false }],
    ['/quota_bytes', { quota_bytes: '' }],
    ['/quota_bytes', { quota_bytes: {} }],
    ['/quota_bytes', { quota_bytes: [5] }],
  ]
  for (const [pointer, body] of refused) {
    test(`refuses ${JSON.stringify(body)}`, async () => {
      assert.deepEqual(pointers(await admin.patch('/v1/mailboxes/user05@example.jp', body)), [pointer])
    })
  }

  test('null and absent are two things', async () => {
    const path = '/v1/mailboxes/user05@example.jp'
    const quotas = []
    for (const body of [{ quota_bytes: 5 }, {}, { quota_bytes: 2 ** 53 - 1 }, { quota_bytes: null }]) {
      quotas.push((await admin.patch(path, body)).body.quota_bytes)
    }
    assert.deepEqual(quotas, [5, 5, 2 ** 53 - 1, null])
  })

  test('a whole number may be written with a fraction of zero', async () => {
    const raw = { raw: '{"quota_bytes": 5.0}' }
    assert.equal((await admin.patch('/v1/mailboxes/user05@example.jp', undefined, raw)).body.quota_bytes, 5)
  })

  test('the body is an object', async () => {
    for (const raw of ['null', '[]', '"text"', '5', 'true', '']) {
      const reply = await admin.post('/v1/domains', undefined, { raw })
      assert.deepEqual(pointers(reply), [''], raw)
    }
  })

  test('what is no JSON is refused without being repeated', async () => {
    for (const raw of ['{', '{"name":}', "{'name':'a.jp'}", 'hunter2', '{"name":"a.jp",}', '\u0000']) {
      const reply = await admin.post('/v1/domains', undefined, { raw })
      assert.equal(outcome(reply), '400 invalid-request', raw)
      assert.doesNotMatch(JSON.stringify(reply.body), /hunter2/)
    }
  })

  test('members that change prototypes are refused', async () => {
    for (const member of ['__proto__', 'constructor']) {
      const raw = `{"name":"proto.jp","${member}":{"prototype":{"locked":true}}}`
      assert.equal(outcome(await admin.post('/v1/domains', undefined, { raw })), '400 invalid-request')
    }
  })
})

describe('pointers say where', () => {
  const cases: [string[], unknown][] = [
    [['/address'], {}],
    [['/name_candidates'], { domain: 'example.jp' }],
    [['/domain', '/quota_bytes'], { name_candidates: ['a'], quota_bytes: 'x' }],
    [['/no_such_member'], { address: 'a@example.jp', no_such_member: 1 }],
    [['/displayName'], { address: 'a@example.jp', displayName: 'x' }],
    [['/account'], { address: 'a@example.jp', account: [] }],
    [['/account/display_name'], { address: 'a@example.jp', account: { display_name: 5 } }],
    [['/account/no_such_member'], { address: 'a@example.jp', account: { no_such_member: 5 } }],
    [
      ['/account/display_name', '/account/external_id'],
      { address: 'a@example.jp', account: { display_name: 5, external_id: {} } },
    ],
  ]
  for (const [expected, body] of cases) {
    test(JSON.stringify(body), async () => {
      assert.deepEqual(pointers(await admin.post('/v1/mailboxes', body)), expected)
    })
  }

  test('in an array', async () => {
    const body = { secure_password_mechanisms: ['SCRAM-SHA-256', 'NTLM', 5] }
    const expected = ['/secure_password_mechanisms/1', '/secure_password_mechanisms/2']
    assert.deepEqual([...new Set(pointers(await admin.patch('/v1/server', body)))], expected)
    const twice = { secure_password_mechanisms: ['CRAM-MD5', 'CRAM-MD5'] }
    assert.deepEqual(pointers(await admin.patch('/v1/server', twice)), ['/secure_password_mechanisms'])
  })

  test('text that a parser refuses has its pointer as well', async () => {
    const person = { address: 'a@example.jp', generate_password: true, account: { display_name: 'a\u202eb' } }
    assert.deepEqual(pointers(await admin.post('/v1/mailboxes', person)), ['/account/display_name'])
    const long = { ...person, account: { external_id: 'x'.repeat(201) } }
    assert.deepEqual(pointers(await admin.post('/v1/mailboxes', long)), ['/account/external_id'])
  })

  test('a name that looks like no member may be a secret, and is not repeated', async () => {
    for (const member of ['Tr0ub4dor&3', 'a/b', 'm~n', ' ', '', '\u0000\u001b[31m', 'x'.repeat(41), '日本']) {
      const reply = await admin.post('/v1/mailboxes', { address: 'a@example.jp', [member]: 1 })
      assert.deepEqual(reply.body.errors, [{ pointer: '', detail: 'has a member that is not known' }], member)
    }
  })

  test('a value is never repeated', async () => {
    const secret = 'Tr0ub4dor&3'
    const reply = await admin.post('/v1/mailboxes', {
      address: [secret],
      generate_password: secret,
      authentication: secret,
      quota_bytes: secret,
      account: { display_name: { [secret]: secret } },
    })
    assert.equal(reply.status, 400)
    assert.doesNotMatch(JSON.stringify(reply.body), /Tr0ub/)
  })

  test('says what would be right', async () => {
    const { body } = await admin.post('/v1/mailboxes', {
      domain: 'a.jp',
      authentication: 'ldap',
      quota_bytes: -1,
    })
    assert.deepEqual(body.errors, [
      { pointer: '/authentication', detail: 'must be one of "local", "password_file", "active_directory"' },
      { pointer: '/quota_bytes', detail: 'must be >= 0' },
      { pointer: '/name_candidates', detail: 'is missing' },
    ])
  })
})

describe('parameters are text', () => {
  const accepted = [
    '/v1/mailboxes?limit=5',
    '/v1/mailboxes?limit=1000&locked=true',
    '/v1/mailboxes?locked=false&state=deleted',
    '/v1/mailboxes?prefix=&external_id=5', // a number is a text too
    '/v1/mailboxes?updated_since=2026-11-24T08:00:00Z',
    '/v1/mailboxes?updated_since=2026-11-24t08:00:00.123456789z',
    '/v1/mailboxes?updated_since=2016-12-31T23:59:60Z', // a leap second: RFC 3339 §5.7
    '/v1/mailboxes?updated_since=0000-01-01T00:00:00Z',
    '/v1/mailboxes?updated_since=9999-12-31T23:59:59-23:59',
    '/v1/mailboxes?updated_since=2026-11-24T08:00:00%2B23:59', // more than PostgreSQL takes
    '/v1/mailboxes?domain=%00',
    '/v1/mailboxes?prefix=%ff',
  ]
  for (const path of accepted) {
    test(`accepts ${path}`, async () => {
      assert.equal(outcome(await admin.get(path)), '200')
    })
  }

  const refused: [string, string][] = [
    ['query/limit', '/v1/mailboxes?limit=0'],
    ['query/limit', '/v1/mailboxes?limit=1001'],
    ['query/limit', '/v1/mailboxes?limit=-1'],
    ['query/limit', '/v1/mailboxes?limit=5.5'],
    ['query/limit', '/v1/mailboxes?limit='],
    ['query/limit', '/v1/mailboxes?limit=five'],
    ['query/limit', '/v1/mailboxes?limit=5&limit=6'],
    ['query/locked', '/v1/mailboxes?locked='],
    ['query/locked', '/v1/mailboxes?locked=1'],
    ['query/locked', '/v1/mailboxes?locked=TRUE'],
    ['query/state', '/v1/mailboxes?state=all'],
    ['query/updated_since', '/v1/mailboxes?updated_since=2026-11-24'],
    ['query/updated_since', '/v1/mailboxes?updated_since=2026-02-30T00:00:00Z'],
    ['query/updated_since', '/v1/mailboxes?updated_since=2026-11-24T08:00:00'],
    ['query/prefix', '/v1/mailboxes?prefix=%00'],
    ['query/name', '/v1/mailboxes?name=a%00'],
    ['query/external_id', '/v1/mailboxes?external_id=%00'],
    ['query/prefix', '/v1/accounts?prefix=%00'],
    ['query/external_id', '/v1/accounts?external_id=%00'],
    ['query/prefix', '/v1/domains?prefix=%00'],
    ['query/cursor', '/v1/mailboxes?cursor=x'],
    ['query/cursor', `/v1/mailboxes?cursor=${'x'.repeat(1025)}`],
    ['query/page', '/v1/mailboxes?page=2'],
    ['query', '/v1/mailboxes?prefix[]=a'],
    ['query/accounts', '/v1/domains/example.jp?accounts=drop'],
    ['query/purge', '/v1/domains/example.jp?purge=yes'],
    ['query/purge', '/v1/accounts/user05?purge=true'], // which it does not have
  ]
  for (const [pointer, path] of refused) {
    test(`refuses ${path.slice(0, 80)}`, async () => {
      const reply = await (/(example\.jp|user05)\?/.test(path) ? admin.delete(path) : admin.get(path))
      assert.deepEqual(pointers(reply), [pointer])
    })
  }

  test('what the path names is there or not: it has no form to be refused for', async () => {
    const names = ['a'.repeat(257), 'a'.repeat(2000), '%00', 'a%2Fb', '%20', "'", '%F0%9F%98%80', 'a%3Fb']
    for (const name of names) {
      assert.equal(outcome(await admin.get(`/v1/accounts/${name}`)), '404 account-not-found', name)
      assert.equal(outcome(await admin.get(`/v1/domains/${name}`)), '404 domain-not-found', name)
      assert.equal(outcome(await admin.get(`/v1/mailboxes/${name}`)), '404 mailbox-not-found', name)
      assert.equal(outcome(await admin.get(`/v1/mailboxes/${name}@example.jp`)), '404 mailbox-not-found')
    }
  })

  test('headers that say what they must not are named', async () => {
    const reply = (header: string, value: string) =>
      admin.put('/v1/mailboxes/user05@example.jp', {}, { headers: { [header]: value } })
    assert.deepEqual(pointers(await reply('if-match', 'no-quotes')), ['header/if-match'])
    assert.deepEqual(pointers(await reply('if-match', `"${'x'.repeat(1024)}"`)), ['header/if-match'])
    assert.deepEqual(pointers(await reply('if-none-match', '"x"')), ['header/if-none-match'])
  })
})
