import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readMechanisms } from './support/mail-clients.ts'
import { cannotServeMail, eventually, type MailServers } from './support/mail-servers.ts'
import { serveMailPages, servePage } from './support/page-service.ts'
import {
  followSteps,
  listPages,
  needsMail,
  prelude,
  readPage,
  readSteps,
  withoutMail,
  withoutPart,
} from './support/pages.ts'

/** What needs pg_dump is run by backup.test.ts. */
const readRunnable = async (name: string) => withoutPart(await readPage(`docs/${name}`), 'pg_dump')

const names = await listPages()
const all = await Promise.all(names.map(async (name) => ({ name, text: await readRunnable(name) })))
const pages = all.filter(({ text }) => readSteps(text).length > 0)
const forMail = pages.filter(({ text }) => needsMail(text) && !cannotServeMail)

const served = cannotServeMail ? undefined : await serveMailPages()

const promises = (text: string) =>
  readSteps(text).some(({ promised, members }) => promised.length > 0 || members)

function follow(text: string, env: Record<string, string>): Promise<void> {
  assert.ok(promises(text), 'it promises something')
  return followSteps(readSteps(text), env, prelude)
}

test('the pages with commands were found', () => {
  assert.ok(pages.length >= 20 && pages.some(({ text }) => needsMail(text)))
})

/** What POP3, IMAP and submission offer inside TLS. */
function askMechanisms(servers: MailServers): Promise<string[][]> {
  return Promise.all((['pop3', 'imap', 'submission'] as const).map((each) => readMechanisms(servers, each)))
}

function tableRows(text: string, mark: string): string[][] {
  const [, table = ''] = new RegExp(`<!-- ${mark} -->(.*?)<!-- /${mark} -->`, 's').exec(text) ?? []
  const rows = table.split('\n').filter((line) => line.startsWith('|'))
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

const words = (cell = '') => cell.split(', ').filter(Boolean).sort()

function readOffered(text: string) {
  const [always, listed] = tableRows(text, 'offered').map(([, cell]) => words(cell))
  return { always, listed }
}

function readPrograms(text: string) {
  const rows = tableRows(text, 'programs')
  assert.ok(rows.length > 10)
  return rows.map(([, login, user, , mechanisms]) => ({ login, user, mechanisms: words(mechanisms) }))
}

// two at a time: most of it is waiting for programs to start
describe('does what it says:', { concurrency: 2 }, () => {
  for (const { name, text } of pages.filter((page) => !forMail.includes(page))) {
    test(name, { skip: !promises(withoutMail(text)) && cannotServeMail }, async (t) => {
      if (needsMail(text)) t.diagnostic(`without the part about mail: ${cannotServeMail}`)
      await follow(withoutMail(text), (await servePage(text)).env)
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

  // the last, because Dovecot loads its configuration anew for it
  test('the mechanisms of mail-programs.md are those that the servers offer', async () => {
    await served?.empty()
    const text = await readPage('docs/mail-programs.md')
    const { always = [], listed = [] } = readOffered(text)
    const { service, servers } = served!
    for (const list of await askMechanisms(servers)) assert.deepEqual(list, always)
    const mechanisms = { secure_password_mechanisms: ['SCRAM-SHA-256', ...listed] }
    const admin = await service.as()
    await admin.post('/v1/domains', { name: 'example.jp', ...mechanisms })
    const both = [...always, ...listed].sort()
    await eventually(
      async () => (await askMechanisms(servers)).every((list) => list.join() === both.join()),
      'the offer of all',
    )
    for (const { login, user, mechanisms: used } of readPrograms(text)) {
      const known = login === 'clear_text' ? ['LOGIN', 'PLAIN'] : both.filter((word) => /-/.test(word))
      assert.ok(used.every((mechanism) => known.includes(mechanism)))
      const name = login === 'clear_text' ? '`user05@example.jp`' : '`user05`'
      assert.equal(user, used.length > 0 ? name : '')
    }
  })
})
