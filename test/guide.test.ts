import assert from 'node:assert/strict'
import { test } from 'node:test'
import { listPages } from './support/pages.ts'
import { startService } from './support/service.ts'

const service = await startService()

async function read(path: string) {
  const response = await fetch(new URL(path, service.url), { redirect: 'manual' })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const names = (await listPages()).map((file) => file.replace(/\.md$/, ''))
const addresses = names.map((name) => (name === 'README' ? '/guide/' : `/guide/${name}`))

test('the reference links to the documentation, which is there', async () => {
  const [, address = ''] = /\[documentation\]\(([^)]*)\)/.exec((await read('/openapi.json')).text) ?? []
  assert.equal(address, '/guide/')
  const { status, headers, text } = await read(address)
  assert.equal(status, 200)
  assert.match(headers.get('content-type') ?? '', /^text\/html/)
  assert.match(text, /<title>Documentation · Mailwright<\/title>/)
  assert.match(text, /<a href="getting-started">/)
  assert.equal((await read('/guide')).headers.get('location'), '/guide/')
})

test('every page is served, and every link in it leads somewhere', async () => {
  const texts = new Map<string, string>()
  for (const address of addresses) {
    const { status, text } = await read(address)
    assert.equal(status, 200, address)
    texts.set(address, text)
  }
  const links = [...texts].flatMap(([from, text]) =>
    [...text.matchAll(/<a href="([^"]*)"/g)].map(([, to = '']) => new URL(to, new URL(from, service.url))),
  )
  const inside = links.filter(
    ({ host, pathname }) => host === new URL(service.url).host && pathname !== '/docs',
  )
  assert.ok(inside.length > 100)
  for (const { pathname, hash } of inside) {
    const page = texts.get(pathname)
    assert.ok(page, `${pathname} is no page`)
    assert.ok(hash === '' || page.includes(` id="${hash.slice(1)}"`), `${pathname} has no ${hash}`)
  }
})

test('pages are HTML that runs and loads nothing', async () => {
  const { headers, text } = await read('/guide/mail-programs')
  assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none'; style-src 'sha256-[^']+';/)
  assert.doesNotMatch(text, /<script|<img|<link|<!--|\son\w+=|\sstyle=/i)
  assert.match(text, /<h2 id="what-the-servers-offer">/)
  assert.match(text, /<td>SCRAM-SHA-256<\/td>/)
  assert.match(text, /<pre><code class="language-sh">/)
})

test('what is in the repository alone is text, not a link that leads nowhere', async () => {
  const { text } = await read('/guide/clients')
  assert.match(text, /<a href="https:\/\/heyapi\.dev">/)
  assert.doesNotMatch(text, /href="\.\.\//)
})

test('nothing else is read', async () => {
  for (const path of [
    '/guide/README.md',
    '/guide/none',
    '/guide/..%2Fpackage',
    '/guide/%2e%2e/README',
    '/guide/constructor',
    '/guide/tokens/',
  ]) {
    const { status, text } = await read(path)
    assert.equal(status, 404, path)
    assert.equal(JSON.parse(text).type, '/problems/not-found')
  }
})

test('the page of a problem links to what all have in common', async () => {
  assert.match((await read('/problems/name-taken')).text, /<a href="\/guide\/errors">/)
})
