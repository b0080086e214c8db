import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { preferredMediaType } from '../src/accept.ts'

const offered = ['text/xml', 'application/xml', 'text/plain'] as const

const cases: [string | undefined, string | undefined][] = [
  [undefined, 'text/xml'],
  ['', 'text/xml'],
  ['*/*', 'text/xml'],
  ['text/plain', 'text/plain'],
  ['TEXT/Plain ; Charset=utf-8', 'text/plain'],
  ['application/xml', 'application/xml'],
  ['application/*', 'application/xml'],
  ['text/*', 'text/xml'],
  ['text/plain, */*;q=0.1', 'text/plain'],
  ['text/plain;q=0.5, text/xml;q=0.4', 'text/plain'],
  ['text/plain;q=0.5,text/xml', 'text/xml'],
  ['text/plain, text/xml', 'text/xml'],
  ['*/*, text/xml;q=0, application/xml;q=0', 'text/plain'],
  ['text/*;q=0.3, text/plain;q=0', 'text/xml'],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', 'application/xml'],
  ['application/json', undefined],
  ['text/xml;q=0', undefined],
  ['text/xml;q=2, text/plain;q=x', undefined],
  ['text', undefined],
  ['*', undefined],
  ['text/plain/more, /, text/, /plain', undefined],
  [',,text/plain,', 'text/plain'],
]

for (const [accept, expected] of cases) {
  test(`Accept: ${accept ?? '(none)'} gets ${expected ?? 'nothing'}`, () => {
    assert.equal(preferredMediaType(accept, offered), expected)
  })
}

test('takes whatever text is sent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (accept) => {
      const chosen = preferredMediaType(accept, offered)
      assert.ok(chosen === undefined || offered.includes(chosen))
    }),
  )
})
