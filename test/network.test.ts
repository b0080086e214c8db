import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isWithin, networkText, parseNetwork, readAddress, toNetwork } from '../src/network.ts'

const contained: [inner: string, outer: string, expected: boolean][] = [
  ['10.1.2.3', '10.0.0.0/8', true],
  ['10.0.0.0/8', '10.0.0.0/8', true],
  ['10.0.0.0/7', '10.0.0.0/8', false],
  ['0.0.0.0/0', '10.0.0.0/8', false],
  ['10.1.2.3', '0.0.0.0/0', true],
  ['11.1.2.3', '10.0.0.0/8', false],
  ['2001:db8::1', '2001:db8::/32', true],
  ['2001:db8::/31', '2001:db8::/32', false],
  ['2001:db9::1', '2001:db8::/32', false],
  ['::1', '0.0.0.0/0', false],
  ['10.1.2.3', '::/0', false],
]
for (const [inner, outer, expected] of contained) {
  test(`${inner} ${expected ? 'is' : 'is not'} within ${outer}`, () => {
    const network = parseNetwork(outer, '/x')
    assert.equal(isWithin(parseNetwork(inner, '/x'), network), expected)
    assert.equal(isWithin(parseNetwork(inner, '/x'), toNetwork(networkText(network))), expected)
  })
}

const addresses: [text: string, expected: string | undefined][] = [
  ['192.0.2.7', '192.0.2.7/32'],
  ['::ffff:192.0.2.7', '192.0.2.7/32'],
  ['2001:DB8::1', '2001:db8::1/128'],
  ['fe80::1%eth0', 'fe80::1/128'],
  ['', undefined],
  ['unknown', undefined],
]
for (const [text, expected] of addresses) {
  test(`a connection from ${JSON.stringify(text)} is of ${expected}`, () => {
    const address = readAddress(text)
    assert.equal(address && networkText(address), expected)
  })
}
