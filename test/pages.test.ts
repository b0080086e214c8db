import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { cannotServeMail } from './support/mail-servers.ts'
import { serveMailPages, servePage } from './support/page-service.ts'
import { followSteps, listPages, needsMail, readPage, readSteps, withoutMail } from './support/pages.ts'

const names = await listPages()
const all = await Promise.all(names.map(async (name) => ({ name, text: await readPage(`docs/${name}`) })))
const pages = all.filter(({ text }) => readSteps(text).length > 0)
const forMail = pages.filter(({ text }) => needsMail(text) && !cannotServeMail)

const served = cannotServeMail ? undefined : await serveMailPages()

/** What pages take over from getting-started.md. */
const prelude = `URL=$MAILWRIGHT_URL
api() { curl -sS -w '\\n%{http_code}\\n' -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }`

function follow(text: string, env: Record<string, string>): Promise<void> {
  const steps = readSteps(text)
  assert.ok(
    steps.some(({ promised, members }) => promised.length > 0 || members),
    'it promises something',
  )
  return followSteps(steps, env, prelude)
}

test('the pages with commands were found', () => {
  assert.ok(pages.length >= 20 && pages.some(({ text }) => needsMail(text)))
})

// two at a time: most of it is waiting for programs to start
describe('does what it says:', { concurrency: 2 }, () => {
  for (const { name, text } of pages.filter((page) => !forMail.includes(page))) {
    test(name, async (t) => {
      if (needsMail(text)) t.diagnostic(`without the part about mail: ${cannotServeMail}`)
      await follow(withoutMail(text), await servePage(text))
    })
  }
})

describe('does what it says, with mail servers:', { skip: cannotServeMail }, () => {
  for (const { name, text } of forMail) {
    test(name, async () => {
      await served?.empty()
      await follow(text, served?.env ?? {})
    })
  }
})
