import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readMailConfig } from '../../src/mail/config.ts'
import type { Folders } from '../../src/mail/folders.ts'
import { collectValues } from '../../src/mail/servers.ts'
import { fill } from '../../src/mail/templates.ts'
import { dovecotProgram, dovecotVersion } from '../support/mail-servers.ts'
import { readBlocks, readPage } from '../support/pages.ts'

const folder = await mkdtemp(join(tmpdir(), 'mailwright-templates-'))
after(() => rm(folder, { recursive: true }))

const names = ['base', 'etc', 'run', 'state', 'sockets', 'spool', 'postfixData', 'log', 'mail', 'local']
const url = 'postgres://mail_read:secret@/mail?host=/run/postgresql'

async function values() {
  const user = (name: string) => ({ name, uid: 1000, gid: 1000 })
  const folders = Object.fromEntries(names.map((name) => [name, join(folder, name)])) as unknown as Folders
  await mkdir(folders.etc, { recursive: true })
  const config = readMailConfig({ MAILWRIGHT_DATA_DIR: folder })
  const users = { postfix: user('postfix'), dovecot: user('dovecot'), mail: user('vmail') }
  const database = { readUrl: url, writeUrl: url, mailServer: 'mail.example.jp', socketDir: undefined }
  const set = await collectValues(config, { database: { ...database, dataDir: folder }, folders, users })
  return { ...set, MECHANISMS: 'plain login scram-sha-256' }
}

for (const version of ['2.3', '2.4']) {
  test(`every name in the files for Dovecot ${version} has a value`, async () => {
    const templates = new URL(`../../deploy/dovecot-${version}/`, import.meta.url)
    const set = await values()
    for (const name of await readdir(templates)) {
      const filled = fill(await readFile(new URL(name, templates), 'utf8'), set)
      assert.doesNotMatch(filled, /\{\{|\}\}|undefined/, name)
    }
  })
}

test('no variable of Dovecot 2.4 goes through a filter that keeps it from being escaped', async () => {
  const content = await readFile(new URL('../../deploy/dovecot-2.4/dovecot.conf', import.meta.url), 'utf8')
  const variables = content.match(/%\{[^}]*\}/g) ?? []
  assert.ok(variables.length > 6)
  assert.deepEqual([...new Set(variables)].sort(), ['%{mechanism}', '%{protocol}', '%{user}'])
  assert.match(content, /^auth_username_chars = \S+$/m)
})

if (dovecotVersion().startsWith('2.4.')) {
  test('Dovecot 2.4 takes its configuration', async () => {
    const file = join(folder, 'dovecot.conf')
    const template = new URL('../../deploy/dovecot-2.4/dovecot.conf', import.meta.url)
    await writeFile(file, fill(await readFile(template, 'utf8'), await values()))
    const taken = execFileSync(dovecotProgram, ['-n', '-c', file], { encoding: 'utf8' })
    assert.match(taken, /^passdb clear-text \{/m)
    assert.match(taken, /^ {6}password = secret$/m)
  })

  test('Dovecot 2.4 takes what docs/connecting.md shows', async () => {
    const blocks = readBlocks(await readPage('docs/connecting.md'))
    const shown = blocks.find(({ text }) => text.includes('passdb clear-text'))?.text ?? ''
    const file = join(folder, 'connecting.conf')
    await writeFile(file, `dovecot_config_version = 2.4.1\ndovecot_storage_version = 2.4.1\n${shown}`)
    const taken = execFileSync(dovecotProgram, ['-n', '-c', file], { encoding: 'utf8' })
    assert.match(taken, /^passdb challenge-response \{/m)
  })
}
