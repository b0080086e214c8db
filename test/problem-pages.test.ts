import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { catalogue, type ProblemCode } from '../src/catalogue.ts'
import { outcome } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const anyone = await service.as({ scopes: [], domains: [] })
const codes = Object.keys(catalogue) as ProblemCode[]

test('every problem has a page that says what to do', async () => {
  for (const code of codes) {
    const { status, headers, body } = await anyone.get(`/problems/${code}`)
    assert.deepEqual([status, headers.get('content-type')], [200, 'text/html; charset=utf-8'], code)
    assert.ok(body.includes(`<code>/problems/${code}</code>`), code)
    assert.ok(body.includes(`<code>${catalogue[code].status}</code>`), code)
    assert.ok(text(body).includes(catalogue[code].help.replaceAll('`', '')), code)
  }
})

/** What a reader sees. */
function text(page: string): string {
  return page
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

test('needs no token', async () => {
  assert.equal((await fetch(new URL('/problems/name-taken', service.url))).status, 200)
})

test('the page may load nothing, run nothing, and has just the style that the policy names', async () => {
  const { headers, body } = await anyone.get('/problems/name-taken')
  const policy = headers.get('content-security-policy') ?? ''
  const [, style = ''] = /<style>(.*?)<\/style>/s.exec(body) ?? []
  const hash = createHash('sha256').update(style).digest('base64')
  assert.ok(policy.startsWith(`default-src 'none'; style-src 'sha256-${hash}';`), policy)
  assert.doesNotMatch(policy, /unsafe/)
  assert.doesNotMatch(body, /<script|<img|<link|src=|https?:|\son\w+=|\sstyle=/)
  assert.equal(headers.get('x-content-type-options'), 'nosniff')
})

test('what is no problem has no page', async () => {
  const others = [
    'no-such-problem',
    'Name-Taken',
    'constructor',
    '__proto__',
    'toString',
    '%3Cscript%3E',
    '%00',
  ]
  for (const code of others) {
    const reply = await anyone.get(`/problems/${code}`)
    assert.equal(outcome(reply), '404 not-found', code)
  }
  assert.equal(outcome(await anyone.get('/problems')), '404 not-found')
  assert.equal(outcome(await anyone.post('/problems/name-taken')), '405 method-not-allowed')
})
