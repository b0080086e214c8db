import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { personalWords } from '../../src/accounts/password-policy.ts'
import type { DomainName } from '../../src/domains/name.ts'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })
await admin.post('/v1/domains', { name: 'example.jp' })
const taro = { address: 'taro.yamada@example.jp', account: { display_name: 'Taro Yamada' } }
await admin.post('/v1/mailboxes', { ...taro, generate_password: true })

const set = (password: string) => admin.put('/v1/accounts/taro.yamada/password', { password })

const good: [what: string, password: string][] = [
  ['twelve characters', 'mxq7!vtr2kpw'],
  ['words', 'correct horse battery staple'],
  ['a common password among other words', 'a new password of mine'],
  ['the name among other words', 'taro was here in the rain'],
  ['Japanese', 'ひみつのことばはここにあります'],
  ['accents, composed', 'Zürich im Regen'],
  ['accents, decomposed', 'Zürich im Regen'.normalize('NFD')],
  ['128 characters', 'mxq7!vtr2kpw9zb#'.repeat(7).concat('abqzpmw82kfjvt6!')],
]
for (const [what, password] of good) {
  test(`takes ${what}`, async () => assert.equal(outcome(await set(password)), '204'))
}

const bad: [what: string, password: string, told: RegExp][] = [
  ['eleven characters', 'mxq7!vtr2kp', /at least 12 characters/],
  ['twelve of which one was sent decomposed', 'mxq7!vtr2ku\u0308', /at least 12 characters/],
  ['twelve of which one is mapped to nothing', 'mxq7!vtr2kp\u00ad', /at least 12 characters/],
  ['a very common password', 'passwordpassword', /common passwords.*repeated/],
  ['one with digits behind it', 'Password1234', /common passwords/],
  ['one with signs for letters', 'P@$$w0rd-2026', /common passwords/],
  ['one in full-width letters', 'ｐａｓｓｗｏｒｄ２０２６', /common passwords/],
  ['a row of keys', 'qwertyuiop12', /common passwords/],
  ['the same character again and again', 'xxxxxxxxxxxxxxxx', /repeated/],
  ['a sequence', 'abcdefghijklmnop', /sequence/],
  ['the name', 'taro.yamada1', /the name/],
  ['the address', 'Taro.Yamada@Example.JP', /the name, the address/],
  ['parts of the display name', 'YamadaTaro!!7', /the name/],
  ['the domain', 'example.jp-2026', /the name, the address/],
]
for (const [what, password, told] of bad) {
  test(`refuses ${what}`, async () => {
    const before = await verifierOf('taro.yamada')
    const refused = await set(password)
    assert.equal(outcome(refused), '422 password-too-weak')
    assert.equal(refused.body.errors[0].pointer, '/password')
    assert.match(refused.body.detail, told)
    assert.ok(!JSON.stringify(refused.body).includes(password))
    assert.equal(await verifierOf('taro.yamada'), before)
  })
}

async function verifierOf(name: string): Promise<string> {
  const query = `select verifier from app.verifiers where name = $1 and mechanism = 'ARGON2ID'`
  return (await service.admin.query(query, [name])).rows[0].verifier
}

describe('a new account', () => {
  const weak = [
    { name: 'hanako', password: 'hanako-hanako-1' },
    { name: 'user01', display_name: 'Hanako Suzuki', password: 'suzuki.hanako7' },
    { name: 'user01', password: 'password12345' },
    { name: 'user01', password: 'too short 1' },
  ]
  for (const { name, password, display_name } of weak) {
    test(`does not begin with ${password}`, async () => {
      const person = display_name === undefined ? {} : { display_name }
      const alone = await admin.post('/v1/accounts', { name, password, ...person })
      const mailbox = { address: `${name}@example.jp`, password, account: person }
      const replies = [alone, await admin.post('/v1/mailboxes', mailbox)]
      const { address, ...ensured } = mailbox
      replies.push(await admin.put(`/v1/mailboxes/${address}`, ensured))
      assert.deepEqual(replies.map(outcome), Array(3).fill('422 password-too-weak'))
      const { rows } = await service.admin.query('select from app.accounts where name = $1', [name])
      assert.equal(rows.length, 0)
    })
  }

  test('is told a collision before the weakness of its password, and hashes nothing', async () => {
    const taken = await admin.post('/v1/mailboxes', { address: taro.address, password: 'password12345' })
    assert.equal(outcome(taken), '409 mailbox-exists')
  })
})

describe('password_min_length', () => {
  test('is what the server is set to, for passwords that are chosen', async () => {
    assert.equal((await admin.get('/v1/server')).body.password_min_length, 12)
    await admin.patch('/v1/server', { password_min_length: 20 })
    assert.equal(outcome(await set('nineteen characters')), '422 password-too-weak')
    assert.equal(outcome(await set('twenty characters it')), '204')
    await admin.patch('/v1/server', { password_min_length: 8 })
    assert.equal(outcome(await set('mxq7!vt')), '422 password-too-weak')
    assert.equal(outcome(await set('mxq7!vtr')), '204')
    await admin.patch('/v1/server', { password_min_length: 128 })
    const generated = await admin.put('/v1/accounts/taro.yamada/password', { generate_password: true })
    assert.equal(outcome(generated), '200')
    await admin.patch('/v1/server', { password_min_length: 12 })
  })

  test('lies between 8 and 128', async () => {
    for (const password_min_length of [7, 129, 0, null, '12']) {
      const refused = await admin.patch('/v1/server', { password_min_length })
      assert.equal(outcome(refused), '400 invalid-request', String(password_min_length))
    }
  })
})

test('knows a person by the whole and the parts of what is said, in letters of any width', () => {
  const person = {
    name: 'mueller-01',
    domain: 'xn--mller-kva.example' as DomainName,
    display_name: 'Ｊö Müller',
  }
  assert.deepEqual(personalWords(person), [
    'mueller-01@xn--mller-kva.example',
    'xn--mller-kva.example',
    'müller.example',
    'mueller-01',
    'jö müller',
    'mueller',
    'example',
    'müller',
    'mller',
    'kva',
  ])
  assert.deepEqual(personalWords({ name: 'li', display_name: null }), [])
  assert.deepEqual(personalWords({ name: 'anna' }, { name: 'anna.schmidt' }), [
    'anna.schmidt',
    'schmidt',
    'anna',
  ])
})
