import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMailboxId, lookUpAddress, parseAddress } from '../../src/mailboxes/address.ts'
import { ProblemError } from '../../src/problems.ts'
import { registrableName } from '../support/domain-names.ts'

// 189 octets: with a name of 64 and the "@" the longest address there is.
const longDomain = `${`${'d'.repeat(61)}.`.repeat(3)}com`
const longestName = 'n'.repeat(64)

const accepted: [string, string, string][] = [
  ['user01@example.jp', 'user01', 'example.jp'],
  ['User01@EXAMPLE.jp', 'user01', 'example.jp'],
  ['user01@example.jp.', 'user01', 'example.jp'],
  ['a.b@mail.example.co.jp', 'a.b', 'mail.example.co.jp'],
  ['user@日本語.jp', 'user', 'xn--wgv71a119e.jp'],
  ['user@日本語。jp。', 'user', 'xn--wgv71a119e.jp'],
  [`${longestName}@${longDomain}`, longestName, longDomain],
]

for (const [text, name, domain] of accepted) {
  test(`the address ${text} is accepted as ${name}@${domain}`, () => {
    const address = { address: `${name}@${domain}`, name, domain }
    assert.deepEqual(parseAddress(text) as object, address)
    assert.deepEqual(lookUpAddress(text) as object, address)
  })
}

const refused: [string, string, RegExp][] = [
  ['', 'invalid-address', /exactly one "@"/],
  ['user', 'invalid-address', /exactly one "@"/],
  ['a@b@example.jp', 'invalid-address', /exactly one "@"/],
  ['user@@example.jp', 'invalid-address', /exactly one "@"/],
  ['user\uFF20example.jp', 'invalid-address', /exactly one "@"/],
  ['@example.jp', 'invalid-name', /at least one character/],
  ['user+list@example.jp', 'invalid-name', /cannot contain "\+"/],
  ['"a b"@example.jp', 'invalid-name', /cannot contain """/],
  ['user.@example.jp', 'invalid-name', /end with a period/],
  [' user@example.jp', 'invalid-name', /cannot contain a space/],
  ['User <user@example.jp>', 'invalid-name', /cannot contain a space/],
  ['us\0er@example.jp', 'invalid-name', /cannot contain U\+0000/],
  [`${'n'.repeat(65)}@example.jp`, 'invalid-name', /this one has 65/],
  ['user@', 'invalid-address', /The domain, right of the "@", is wrong: A domain name is needed/],
  ['user@example', 'invalid-address', /The domain, .* at least two labels/],
  ['user@example.jp..', 'invalid-address', /The domain, .* one period, not with more/],
  ['user@example.jp ', 'invalid-address', /The domain, .* cannot contain a space/],
  ['user@[192.0.2.1]', 'invalid-address', /The domain, .* cannot contain "\["/],
  ['user@192.0.2.1', 'invalid-address', /The domain, .* IP address/],
  ['user@a..jp', 'invalid-address', /The domain, .* two periods in a row/],
  [`${longestName}@d${longDomain}`, 'invalid-address', /at most 254 octets.* has 255/],
]

for (const [text, code, detail] of refused) {
  test(`the address ${JSON.stringify(text)} is refused with the part that is wrong`, () => {
    assert.throws(
      () => parseAddress(text, '/to'),
      (error) => {
        assert.ok(error instanceof ProblemError)
        assert.equal(error.code, code)
        assert.match(error.detail ?? '', detail)
        assert.deepEqual(error.errors, [{ pointer: '/to', detail: error.detail }])
        return true
      },
    )
  })

  test(`a path with the address ${JSON.stringify(text)} names no mailbox`, () => {
    assert.throws(() => lookUpAddress(text), { code: 'mailbox-not-found', errors: undefined })
  })
}

test('a wrong address is reported at /address unless told otherwise', () => {
  for (const text of ['user', 'a b@example.jp', 'user@example']) {
    assert.throws(
      () => parseAddress(text),
      (error) => {
        assert.ok(error instanceof ProblemError)
        return error.errors?.[0]?.pointer === '/address'
      },
    )
  }
})

test('an id is a UUID in its canonical form, in any case', () => {
  const id = randomUUID()
  assert.equal(isMailboxId(id), true)
  assert.equal(isMailboxId(id.toUpperCase()), true)
  const forms = [
    id.replaceAll('-', ''),
    `{${id}}`,
    `urn:uuid:${id}`,
    `${id}\n`,
    ` ${id}`,
    id.slice(1),
    `${id}0`,
  ]
  assert.deepEqual(forms.filter(isMailboxId), [])
})

test('nothing is an id and an address at once', () => {
  fc.assert(
    fc.property(fc.uuid(), (id) => assert.throws(() => parseAddress(id), { code: 'invalid-address' })),
  )
})

const name = fc.stringMatching(/^[a-z0-9_-]{1,20}(\.[a-z0-9_-]{1,20})?$/)

test('an address is the same in any case, with a trailing dot, and read again', () => {
  const property = fc.property(name, registrableName, (local, domain) => {
    const text = `${local}@${domain}`
    fc.pre(text.length <= 254)
    const parsed = parseAddress(text)
    assert.equal(parsed.address, `${parsed.name}@${parsed.domain}`)
    assert.deepEqual(parseAddress(text.toUpperCase()), parsed)
    assert.deepEqual(parseAddress(`${text}.`), parsed)
    assert.deepEqual(parseAddress(parsed.address), parsed)
  })
  fc.assert(property)
})

const half = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), name, fc.domain())

test('any text is refused with a problem of addresses or becomes one that parses to itself', () => {
  const property = fc.property(fc.array(half, { maxLength: 3 }), (parts) => {
    try {
      const parsed = parseAddress(parts.join('@'))
      assert.deepEqual(parseAddress(parsed.address), parsed)
      assert.ok(parsed.address.length <= 254)
    } catch (error) {
      assert.ok(error instanceof ProblemError, String(error))
      assert.match(error.code, /^invalid-(address|name)$/)
      assert.match(error.detail ?? '', /^[ -~\u00A7]+$/)
    }
  })
  fc.assert(property, { numRuns: 2000 })
})
