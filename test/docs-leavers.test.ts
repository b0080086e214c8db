import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { startService } from './support/service.ts'

const service = await startService()
const page = await readFile(new URL('../docs/leavers.md', import.meta.url), 'utf8')
const mark = '=== next block'

const api = `api() { curl -sS -w '\\n%{http_code}\\n' -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }`

test('every command of the page about leavers does what it says', async () => {
  const blocks = [...page.matchAll(/^```(sh)?\n(.*?)^```$/gms)].map(([, kind, text = '']) => ({ kind, text }))
  const steps = blocks.flatMap(({ kind, text }, i) =>
    kind === 'sh'
      ? [{ commands: text, expected: blocks[i + 1]?.text.split('\n').filter(Boolean) ?? [] }]
      : [],
  )
  assert.ok(steps.length >= 7)
  const script = [api, ...steps.map(({ commands }) => `${commands}\necho '${mark}'`)].join('\n')
  const env = { ...process.env, URL: service.url, TOKEN: await service.token() }
  const { stdout } = await promisify(execFile)('bash', ['-e', '-c', script], { env })
  for (const [i, output] of stdout.split(mark).slice(0, steps.length).entries()) {
    let rest = output
    for (const piece of steps[i]!.expected) {
      assert.ok(
        rest.includes(piece),
        `${piece} was promised after\n${steps[i]!.commands}\nand this was left:\n${rest}`,
      )
      rest = rest.slice(rest.indexOf(piece) + piece.length)
    }
  }
})
