import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fill } from '../../src/mail/templates.ts'

test('puts every value in the places of its name', () => {
  assert.equal(
    fill('a = {{ONE}}:{{TWO}}\nb = {{ONE}} $x %u', { ONE: '$1', TWO: 2 }),
    'a = $1:2\nb = $1 $x %u',
  )
})

test('puts a list on lines of their own', () => {
  assert.equal(fill('a {\n{{LIST}}\n}', { LIST: ['b = 1', 'c = 2'] }), 'a {\nb = 1\nc = 2\n}')
})

test('refuses a name that nobody sets, and a value that would be a setting of its own', () => {
  assert.throws(() => fill('{{MISSING}}', {}), { message: /MISSING/ })
  assert.throws(() => fill('a = {{ONE}}', { ONE: 'x\nssl = no' }), { message: /line break/ })
  assert.throws(() => fill('a {\n{{ONE}}\n}', { ONE: ['b', 'x\nssl = no'] }), { message: /line break/ })
})

test('no file of deploy/ holds a password, and every query calls a function of the schema mail', async () => {
  const folder = new URL('../../deploy/', import.meta.url)
  const files = (await readdir(folder, { recursive: true })).filter((name) => /\.(cf|conf|ext)$/.test(name))
  assert.ok(files.length > 8)
  for (const name of files) {
    const content = await readFile(new URL(name, folder), 'utf8')
    assert.doesNotMatch(content, /^\s*(connect|hosts|doveadm_\w*key|password)\s*=\s*(?!\{\{)\S/m, name)
    for (const [query] of content.matchAll(/\bFROM\s+\S+/g)) assert.match(query, /FROM mail\.[a-z_]+\(/, name)
  }
})
