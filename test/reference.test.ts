import assert from 'node:assert/strict'
import { test } from 'node:test'
import { document } from './support/contract.ts'
import { startService } from './support/service.ts'

const service = await startService()

async function read(path: string) {
  const response = await fetch(new URL(path, service.url))
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const page = await read('/docs')

/** What the page has the browser load. */
const assets = [...page.text.matchAll(/<(?:script|link|img)\b[^>]*?\b(?:src|href)="([^"]*)"/g)].map(
  ([, url = '']) => url,
)

test('is a page', () => {
  assert.equal(page.status, 200)
  assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
  assert.match(page.text, /<title>Mailwright: API reference<\/title>/)
})

test('everything that it loads is served here', async () => {
  assert.ok(assets.some((url) => url.endsWith('.js')) && assets.some((url) => url.endsWith('.css')))
  for (const url of assets) {
    assert.match(url, /^\/docs\//) // a path, and no other host
    const { status, headers, text } = await read(url)
    assert.equal(status, 200, url)
    assert.ok(text.length > 0, url)
    const kind = { js: /javascript/, css: /css/, png: /png/ }[url.split('.').at(-1) ?? '']
    assert.match(headers.get('content-type') ?? '', kind ?? /none/, url)
  }
})

test('what it loads refers to no other host', async () => {
  for (const url of assets.filter((asset) => asset.endsWith('.css'))) {
    const { text } = await read(url)
    const references = [...text.matchAll(/@import\s+[^;]+|url\(\s*["']?([^"')]+)/g)].map(
      ([whole, to]) => to ?? whole,
    )
    assert.deepEqual(
      references.filter((to) => !to.startsWith('data:') && !/^[./]?[\w./-]+$/.test(to)),
      [],
    )
  }
})

test('nothing else is allowed to load, run or frame it', () => {
  const policy = page.headers.get('content-security-policy') ?? ''
  const directives = policy.split(';').map((directive) => directive.trim())
  assert.ok(directives.includes("default-src 'self'"), policy)
  assert.ok(directives.includes("frame-ancestors 'none'"), policy)
  assert.doesNotMatch(policy, /unsafe|https?:|\*/)
  // a directive of its own takes the place of default-src: only images may come from elsewhere, from the page itself
  const sources = directives.filter((directive) =>
    /^(script|style|connect|font|worker|frame|img)-src/.test(directive),
  )
  assert.deepEqual(sources, ["img-src 'self' data:"])
})

test('the page has no code of its own, which the policy would stop', () => {
  assert.doesNotMatch(page.text, /<script(?![^>]*\ssrc=)|\son\w+=|<style|\sstyle=|javascript:/i)
})

test('shows the document of this service, and keeps no token', async () => {
  const initializer = assets.find((url) => url.endsWith('swagger-initializer.js')) ?? ''
  const { text } = await read(initializer)
  const [, settings = ''] = /const config = (\{.*\})/.exec(text) ?? []
  const { persistAuthorization, layout } = JSON.parse(settings)
  assert.deepEqual({ persistAuthorization, layout }, { persistAuthorization: false, layout: 'BaseLayout' })
  assert.match(text, /validatorUrl: null/) // or it would ask validator.swagger.io
  assert.match(text, /url: resolveUrl\('\.\/json'\)/)
  assert.deepEqual(JSON.parse((await read('/docs/json')).text), document)
})

test('files beside it are not served', async () => {
  for (const path of [
    '/docs/static/../../package.json',
    '/docs/static/%2e%2e%2fpackage.json',
    '/docs/none.js',
  ]) {
    assert.equal((await read(path)).status, 404, path)
  }
})
