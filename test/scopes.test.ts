import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holds, parseScopes, type Scope, scopeDescriptions, scopes } from '../src/scopes.ts'

test('every scope has a description of one sentence', () => {
  assert.equal(scopes.length, 20)
  for (const scope of scopes) assert.match(scopeDescriptions[scope], /^[A-Z][^\n]*[^.]\.$/, scope)
})

const cases: [held: Scope[], asked: Scope, allowed: boolean][] = [
  [['domains:read'], 'domains:read', true],
  [['domains:write'], 'domains:read', true],
  [['domains:write'], 'domains:write', true],
  [['server:write'], 'server:read', true],
  [['domains:read'], 'domains:write', false],
  [['domains:write'], 'mailboxes:read', false],
  [['mailboxes:purge'], 'mailboxes:read', false],
  [['mailboxes:write'], 'mailboxes:purge', false],
  [['mailboxes:purge'], 'mailboxes:write', false],
  [['passwords:write'], 'passwords:check', false],
  [['accounts:write'], 'passwords:write', false],
  [['names:reserved'], 'audit:read', false],
  [['mailboxes:read', 'accounts:write'], 'accounts:read', true],
  [[], 'metrics:read', false],
]
for (const [held, asked, allowed] of cases) {
  test(`${held.join(' ') || 'nothing'} ${allowed ? 'allows' : 'does not allow'} ${asked}`, () => {
    assert.equal(holds(new Set(held), asked), allowed)
  })
}

test('ignores words that are no scopes', () => {
  const words = [
    'openid',
    'domains:read',
    'domains:admin',
    'DOMAINS:WRITE',
    'toString',
    '__proto__',
    '',
    'domains:read',
  ]
  assert.deepEqual([...parseScopes(words)], ['domains:read'])
})
