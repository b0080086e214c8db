import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { startProcess } from './support/process.ts'

const page = await readFile(new URL('../docs/tokens.md', import.meta.url), 'utf8')

/** Commands, and the pieces of output that the block after them promises. */
const steps = [...page.matchAll(/^```sh\n(.*?)^```$(?:\n\n```\n(.*?)^```$)?/gms)].map(
  ([, commands = '', promised = '']) => ({ commands, promised: promised.split('\n').filter(Boolean) }),
)

test('every command of docs/tokens.md does what the page says', async (t) => {
  assert.ok(steps.length >= 6 && steps.flatMap(({ promised }) => promised).length > 20)
  const service = await startProcess(t)
  const mark = '=== next block'
  const script = steps.map(({ commands }) => `${commands}\necho '${mark}'\n`).join('')
  const { stdout } = await promisify(execFile)('bash', ['-e', '-c', script], {
    cwd: new URL('..', import.meta.url),
    env: { ...process.env, MAILWRIGHT_URL: service.url, MAILWRIGHT_DATA_DIR: service.dataDir },
  })
  const outputs = stdout.split(mark)
  for (const [i, { commands, promised }] of steps.entries()) {
    let rest = outputs[i] ?? ''
    for (const piece of promised) {
      assert.ok(
        rest.includes(piece),
        `after\n${commands}\nthis was promised: ${piece}\nof this:\n${outputs[i]}`,
      )
      rest = rest.slice(rest.indexOf(piece) + piece.length)
    }
  }
})
