import assert from 'node:assert/strict'
import { access, readdir, readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { marked, type Token, type Tokens } from 'marked'
import packageJson from '../package.json' with { type: 'json' }
import { catalogue } from '../src/catalogue.ts'
import { slug } from '../src/guide/render.ts'
import { isScope, scopeDescriptions } from '../src/scopes.ts'
import { document } from './support/contract.ts'
import { listPages, readBlocks, readPage, root } from './support/pages.ts'

const names = (await listPages()).map((name) => `docs/${name}`)
const pages = new Map(
  await Promise.all(['README.md', ...names].map(async (name) => [name, await readPage(name)] as const)),
)

interface Found {
  page: string
  what: string
}

/** Every match of the pattern's first group, with the page that has it. */
function find(pattern: RegExp): Found[] {
  return [...pages].flatMap(([page, text]) =>
    [...text.matchAll(pattern)].map(([, what = '']) => ({ page, what })),
  )
}

function tokensOf(page: string): Token[] {
  const tokens: Token[] = []
  marked.walkTokens(marked.lexer(pages.get(page) ?? ''), (token) => void tokens.push(token))
  return tokens
}

const linksOf = (page: string) =>
  tokensOf(page).flatMap((token) => (token.type === 'link' ? [(token as Tokens.Link).href] : []))
const anchorsOf = (page: string) =>
  tokensOf(page).flatMap((token) => (token.type === 'heading' ? [slug((token as Tokens.Heading).text)] : []))

test('every relative link leads to a file, and every anchor to a heading', async () => {
  for (const page of pages.keys()) {
    for (const link of linksOf(page).filter((to) => !/^https:/.test(to))) {
      const { pathname, hash } = new URL(link, `https://x/${page}`)
      const file = pathname.slice(1)
      await assert.doesNotReject(access(new URL(file, root)), `${page} links to ${link}`)
      if (hash) assert.ok(anchorsOf(file).includes(hash.slice(1)), `${page} links to ${link}`)
    }
  }
})

test('the index has every page once, and the README has the index', () => {
  const listed = linksOf('docs/README.md').map((link) => `docs/${link}`)
  assert.deepEqual(listed.toSorted(), names.filter((name) => name !== 'docs/README.md').toSorted())
  assert.ok(linksOf('README.md').includes('docs/README.md'))
})

/** What may stand behind the first fence; without a word it is what the commands before it print. */
const languages = ['sh', 'console', 'json', 'sql', 'csv', 'ini', 'nginx', 'dns', 'http']

test('every block says what it is: run by the tests, or shown', () => {
  for (const name of names) {
    for (const [i, { language, text }] of readBlocks(pages.get(name) ?? '').entries()) {
      const before = readBlocks(pages.get(name) ?? '')[i - 1]?.language
      assert.ok(language === '' ? before === 'sh' : languages.includes(language), `${name}: ${text}`)
      if (language === 'console') assert.match(text, /^(\$|#|C:\\>) /, `${name}: ${text}`)
    }
  }
})

test('every path of the API exists, with its method', () => {
  const known = Object.entries(document.paths).map(([path, item]) => ({
    path: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    methods: Object.keys(item ?? {}).map((method) => method.toUpperCase()),
  }))
  const found = find(/(?<=\$URL|\W|^)((?:(?:GET|POST|PUT|PATCH|DELETE) )?\/v1\/[^\s`"'?,;)*]+)/g)
  assert.ok(found.length > 150)
  for (const { page, what } of found) {
    const [path = '', method] = what.split(' ').reverse()
    const entry = known.find((each) => each.path.test(path.replace(/[.:]$/, '')))
    assert.ok(entry && (method === undefined || entry.methods.includes(method)), `${page} names ${what}`)
  }
})

test('every problem exists, with its status', () => {
  const codes = find(/\/problems\/([a-z-]+)/g)
  assert.ok(codes.length > 30)
  for (const { page, what } of codes) assert.ok(Object.hasOwn(catalogue, what), `${page} names ${what}`)
  for (const { page, what } of find(/\b([45]\d\d (?:\| )?`[a-z-]+`)/g)) {
    const [, status, code = ''] = /^(\d+).*`(.*)`$/.exec(what) ?? []
    const entry = Object.entries(catalogue).find(([each]) => each === code)?.[1]
    assert.equal(entry?.status, Number(status), `${page} names ${what}`)
  }
})

test('every scope exists', () => {
  const found = find(/\b([a-z]+:(?:read|write|purge|check|reserved))\b/g)
  assert.ok(found.length > 50)
  for (const { page, what } of found) assert.ok(isScope(what), `${page} names ${what}`)
})

test('every script of npm exists', () => {
  const found = find(/npm run (?:-s )?([a-z][a-z:]*)/g)
  assert.ok(found.length > 30)
  for (const { page, what } of found)
    assert.ok(Object.hasOwn(packageJson.scripts, what), `${page} names ${what}`)
})

test('every environment variable is read somewhere, or set by the page', async () => {
  const folders = ['src', 'deploy', 'test/support']
  const listed = folders.map(async (folder) =>
    (await readdir(new URL(`${folder}/`, root), { recursive: true })).map((file) => `${folder}/${file}`),
  )
  const sources = [(await Promise.all(listed)).flat(), 'docker-compose.yml', '.ci/run'].flat()
  const texts = await Promise.all(
    sources.map((file) => readFile(new URL(file, root), 'utf8').catch(() => '')), // folders
  )
  const known = new Set(texts.flatMap((text) => text.match(/\b[A-Z][A-Z0-9]+(_[A-Z0-9]+)+\b/g) ?? []))
  for (const { page, what } of find(/\b([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)\b/g)) {
    const set = new RegExp(`\\b${what}=`).test(pages.get(page) ?? '')
    assert.ok(known.has(what) || set, `${page} names ${what}`)
  }
})

test('the list of scopes is the one that the service knows', async () => {
  const file = new URL('docs/identity-providers.md', root)
  const text = await readFile(file, 'utf8')
  const [before = '', , after = ''] = text.split(/(?<=<!-- scopes -->\n)(.*?)(?=<!-- \/scopes -->)/s)
  const rows = Object.entries(scopeDescriptions).map(([scope, meaning]) => `| \`${scope}\` | ${meaning} |\n`)
  const wanted = `${before}\n| scope | what it allows |\n|---|---|\n${rows.join('')}\n${after}`
  if (process.env.UPDATE_README) await writeFile(file, wanted)
  else assert.equal(text, wanted, 'write it again with UPDATE_README=1 npm test')
})

test('what connecting.md asks the database is what the configuration in deploy asks', async () => {
  const text = (pages.get('docs/connecting.md') ?? '').replaceAll('/srv/mail/', '{{MAIL_DIR}}/')
  const files = (await readdir(new URL('deploy/', root), { recursive: true })).filter((file) =>
    /\.(cf|ext|conf)$/.test(file),
  )
  const queries = []
  for (const file of files) {
    const content = await readFile(new URL(`deploy/${file}`, root), 'utf8')
    queries.push(...(content.match(/SELECT (.|\\\n)*?FROM mail\.\w+\(.*\)( AS r)?/g) ?? []))
  }
  assert.ok(queries.length >= 10)
  const flat = (query: string) => query.replaceAll(/\\\n\s*/g, '').replaceAll(/\s+/g, ' ')
  for (const query of queries) assert.ok(flat(text).includes(flat(query)), query)
})
