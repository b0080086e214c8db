import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { servePage } from './support/page-service.ts'
import { followSteps, listPages, readPage, readSteps } from './support/pages.ts'

const pages = await listPages()

/** What pages take over from getting-started.md. */
const before = `URL=$MAILWRIGHT_URL
api() { curl -sS -w '\\n%{http_code}\\n' -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }`

// two at a time: most of it is waiting for programs to start
describe('the commands of docs', { concurrency: 2 }, async () => {
  for (const page of pages) {
    const text = await readPage(`docs/${page}`)
    if (readSteps(text).length === 0) continue
    test(`${page} does what it says`, async (t) => {
      const { markdown, env } = await servePage(t, text)
      const steps = readSteps(markdown)
      assert.ok(
        steps.some(({ promised, members }) => promised.length > 0 || members),
        'it promises something',
      )
      await followSteps(steps, env, before)
    })
  }
})

test('most pages have commands that are run', async () => {
  const texts = await Promise.all(pages.map((page) => readPage(`docs/${page}`)))
  assert.ok(texts.filter((text) => readSteps(text).length > 0).length >= 10)
})
