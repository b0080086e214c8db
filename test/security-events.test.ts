import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { securityEvents } from '../src/security-events.ts'

test('docs/operations.md lists every security event, and no other', async () => {
  const page = await readFile(new URL('../docs/operations.md', import.meta.url), 'utf8')
  const table = page.slice(page.indexOf('| event | meaning |'))
  const rows = [...table.matchAll(/^\| `([\w-]+)` \| (.*) \|$/gm)].map(([, name, meaning]) => [name, meaning])
  assert.deepEqual(Object.fromEntries(rows), securityEvents)
})
