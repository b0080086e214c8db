import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { kill } from 'node:process'
import { test } from 'node:test'
import { eventually } from '../support/mail-servers.ts'
import { temporaryFolder } from '../support/process.ts'

const module = new URL('../../src/mail/child.ts', import.meta.url)

test('a server does not outlive whoever keeps it running where that ends by an error', async (t) => {
  const file = join(await temporaryFolder(t), 'pid')
  const program = `
    import { existsSync } from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    import { keepRunning } from '${module}'
    keepRunning({ file: '/bin/sh', args: ['-c', 'echo $$ > ${file}.new; mv ${file}.new ${file}; exec sleep 600'] }, () => {})
    while (!existsSync('${file}')) await sleep(10)
    throw new Error('nobody catches this')`
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], {
    encoding: 'utf8',
    timeout: 60_000,
  })
  assert.equal(status, 1)
  assert.match(stderr, /nobody catches this/)
  const pid = Number(readFileSync(file, 'utf8'))
  await eventually(() => !isThere(pid), 'the end of the server')
})

function isThere(pid: number): boolean {
  try {
    return kill(pid, 0)
  } catch {
    return false
  }
}
