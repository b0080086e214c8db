import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseName } from '../../src/accounts/name.ts'
import { assertRoleNameAllowed, isRoleName, roleNames } from '../../src/accounts/role-names.ts'
import { ProblemError } from '../../src/problems.ts'

const roles = [
  ...['info', 'marketing', 'sales', 'support', 'abuse', 'noc', 'security', 'trouble'],
  ...['postmaster', 'hostmaster', 'usenet', 'news', 'webmaster', 'www', 'uucp', 'ftp'],
  ...['admin', 'administrator', 'root', 'mailer-daemon', 'noreply', 'ssladmin'],
  ...['no-reply', 'no_reply', 'no.reply', 'ssl-admin', 'mailerdaemon', 'post.master', 'web-master'],
]

for (const role of roles) {
  test(`${role} is a role name in any case, refused unless it is allowed`, () => {
    const name = parseName(role.toUpperCase())
    assert.equal(isRoleName(name), true)
    assertRoleNameAllowed(name, true)
    assert.throws(
      () => assertRoleNameAllowed(name, false, '/address'),
      (error) => {
        assert.ok(error instanceof ProblemError)
        assert.equal(error.code, 'role-name-refused')
        assert.equal(error.errors?.[0]?.pointer, '/address')
        return true
      },
    )
  })
}

const others = [
  'user01',
  'admin1',
  'administrators',
  'infos',
  'in.fo',
  'rooter',
  'abuse-team',
  'newsome',
  'x',
]

for (const other of others) {
  test(`${other} is no role name`, () => {
    const name = parseName(other)
    assert.equal(isRoleName(name), false)
    assertRoleNameAllowed(name, false)
  })
}

test('every role name is a name, or it could never be asked for', () => {
  assert.deepEqual(
    [...roleNames].map((role) => parseName(role)),
    [...roleNames],
  )
})
