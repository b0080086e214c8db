import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JWTPayload } from 'jose'
import { ProblemError } from '../src/problems.ts'
import { parseSubject, type Subject } from '../src/subject.ts'

const claim = 'mailwright_domains'
const tenant = '7a3f1c52-0000-4000-8000-0123456789ab'

function read(claims: JWTPayload): Subject {
  return parseSubject({ iss: 'https://id.example', sub: 'hr', ...claims }, claim)
}

// The claims as each product writes them; see its documentation of access tokens.
const shapes: [name: string, claims: JWTPayload, id: string, scopes: string[], domains: '*' | string[]][] = [
  [
    'Entra v1, delegated',
    {
      iss: `https://sts.windows.net/${tenant}/`,
      ver: '1.0',
      appid: 'app-1',
      sub: 'pairwise',
      scp: 'domains:read user_impersonation',
    },
    'pairwise',
    ['domains:read'],
    [],
  ],
  [
    'Entra v1, application',
    {
      iss: `https://sts.windows.net/${tenant}/`,
      ver: '1.0',
      appid: 'app-1',
      idtyp: 'app',
      sub: 'object',
      oid: 'object',
      roles: ['domains:write'],
      [claim]: ['*'],
    },
    'object',
    ['domains:write'],
    '*',
  ],
  [
    'Entra v2, application',
    {
      iss: `https://login.microsoftonline.com/${tenant}/v2.0`,
      ver: '2.0',
      azp: 'app-2',
      sub: 'object',
      roles: ['mailboxes:write', 'Mail.Read'],
      [claim]: 'example.jp',
    },
    'object',
    ['mailboxes:write'],
    ['example.jp'],
  ],
  [
    'Okta',
    {
      iss: 'https://example.okta.com/oauth2/default',
      ver: 1,
      cid: '0oa1',
      sub: '0oa1',
      scp: ['domains:read', 'openid'],
      [claim]: ['example.jp', 'example.com'],
    },
    '0oa1',
    ['domains:read'],
    ['example.jp', 'example.com'],
  ],
  [
    'Keycloak, array',
    {
      iss: 'https://sso.example/realms/x',
      typ: 'Bearer',
      azp: 'hr',
      sub: 'uuid',
      scope: 'openid profile email mailboxes:read',
      realm_access: { roles: ['domains:write'] },
      [claim]: ['example.jp'],
    },
    'uuid',
    ['mailboxes:read'],
    ['example.jp'],
  ],
  [
    'Keycloak, string',
    {
      iss: 'https://sso.example/realms/x',
      typ: 'Bearer',
      azp: 'hr',
      sub: 'uuid',
      scope: 'profile mailboxes:read',
      [claim]: 'example.jp, example.com',
    },
    'uuid',
    ['mailboxes:read'],
    ['example.jp', 'example.com'],
  ],
]
for (const [name, claims, id, scopes, domains] of shapes) {
  test(`reads a token of ${name}`, () => {
    const subject = parseSubject(claims, claim)
    assert.equal(subject.id, id)
    assert.equal(subject.issuer, claims.iss)
    assert.deepEqual([...subject.scopes], scopes)
    assert.deepEqual(subject.domains, domains)
  })
}

const ids: [JWTPayload, string][] = [
  [{ sub: 'a', azp: 'b', appid: 'c', client_id: 'd' }, 'a'],
  [{ azp: 'b', appid: 'c', client_id: 'd' }, 'b'],
  [{ appid: 'c', client_id: 'd' }, 'c'],
  [{ sub: '', client_id: 'd' }, 'd'],
]
for (const [claims, id] of ids) {
  test(`takes ${id} as the caller of ${JSON.stringify(claims)}`, () => {
    assert.equal(parseSubject({ iss: 'i', scope: '', ...claims }, claim).id, id)
  })
}

const refused: [name: string, claims: JWTPayload][] = [
  ['names nobody', { iss: 'i', scope: 'domains:read' }],
  ['names nobody by text', { iss: 'i', scope: 'domains:read', sub: 7 as unknown as string }],
  ['names its subject by too much', { iss: 'i', scope: 'domains:read', sub: 'a'.repeat(256) }],
  ['names its subject by a NUL', { iss: 'i', scope: 'domains:read', sub: 'a\0' }],
  ['names its subject by other characters', { iss: 'i', scope: 'domains:read', sub: 'é' }],
  ['has none of the scope claims, as ID tokens', { iss: 'i', sub: 'a', nonce: 'n', [claim]: ['*'] }],
  ['has only null for scopes', { iss: 'i', sub: 'a', scope: null, scp: null, roles: null }],
]
for (const [name, claims] of refused) {
  test(`refuses a token that ${name}`, () => {
    assert.throws(() => parseSubject(claims, claim), unauthenticated)
  })
}

function unauthenticated(error: unknown): boolean {
  return error instanceof ProblemError && error.code === 'unauthenticated'
}

test('joins the scopes of all three claims', () => {
  const subject = read({ scope: 'domains:read', scp: ['accounts:read'], roles: ['mailboxes:read', 5, null] })
  assert.deepEqual([...subject.scopes].sort(), ['accounts:read', 'domains:read', 'mailboxes:read'])
})

test('a scope claim without a known scope gives a caller without scopes', () => {
  for (const claims of [
    { scope: '' },
    { scope: 'openid' },
    { roles: [] },
    { scp: { 'domains:read': true } },
  ]) {
    assert.equal(read(claims).scopes.size, 0, JSON.stringify(claims))
  }
})

const domains: [claim: unknown, read: '*' | string[]][] = [
  [undefined, []],
  [null, []],
  [[], []],
  ['', []],
  [['*'], '*'],
  ['*', '*'],
  [['example.jp', '*'], '*'],
  [['*.example.jp'], []],
  [['**'], []],
  [true, []],
  [{ '*': true }, []],
  [{ 0: '*', length: 1 }, []],
  [[['*']], []],
  [['EXAMPLE.jp.', 'example.jp'], ['example.jp']],
  [['例え.jp'], ['xn--r8jz45g.jp']],
  ['example.jp example.com,example.org', ['example.jp', 'example.com', 'example.org']],
  [['example.jp', 'not a domain', 'exa%6Dple.com', '', 7, null, '1.2.3.4'], ['example.jp']],
]
for (const [value, expected] of domains) {
  test(`the domains ${JSON.stringify(value)} mean ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(read({ scope: '', [claim]: value }).domains, expected)
  })
}

test('reads the domains from the named claim only', () => {
  assert.deepEqual(read({ scope: '', domains: ['*'] }).domains, [])
  assert.deepEqual(parseSubject({ sub: 'a', scope: '', domains: ['*'] }, 'domains').domains, '*')
  assert.deepEqual(parseSubject({ sub: 'a', scope: '' }, 'constructor').domains, [])
})

test('what says anything about passwords but "any" is bound to sealing', () => {
  for (const password_delivery of ['sealed', 'Sealed', 'none', ['sealed'], true, {}, ''])
    assert.equal(read({ scope: '', password_delivery }).passwordDelivery, 'sealed')
  for (const password_delivery of ['any', undefined, null])
    assert.equal('passwordDelivery' in read({ scope: '', password_delivery }), false)
})

test('the id of the token is known when it is a text', () => {
  assert.equal(read({ scope: '', jti: 't1' }).tokenId, 't1')
  assert.equal(read({ scope: '' }).tokenId, undefined)
  assert.equal(read({ scope: '', jti: 7 as unknown as string }).tokenId, undefined)
})
