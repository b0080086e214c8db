import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadOrCreateKeys } from '../../src/keys.ts'
import { scopes } from '../../src/scopes.ts'
import { createClient } from '../support/client.ts'
import { readJsonLines } from '../support/json-lines.ts'
import { startProcess, stopProcess, temporaryFolder } from '../support/process.ts'

test('the program opens the file at its start, again on SIGHUP, and has it complete when it stops', async (t) => {
  const path = join(await temporaryFolder(t), 'audit.jsonl')
  const { child, url, dataDir } = await startProcess(t, { env: { AUDIT_LOG_FILE: path } })
  const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
  const token = await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 600 })
  const client = createClient(url, token)
  const names = async (file: string) =>
    (await readJsonLines<{ object: string }>(file)).map(({ object }) => object)
  await client.post('/v1/domains', { name: 'before.jp' })
  for (const end = Date.now() + 20_000; (await names(path)).length === 0; ) {
    assert.ok(Date.now() < end, 'no line came')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await rename(path, `${path}.1`)
  child.kill('SIGHUP')
  await client.post('/v1/domains', { name: 'after.jp' })
  assert.equal(await stopProcess(child), 0)
  assert.deepEqual([...(await names(`${path}.1`)), ...(await names(path))], ['before.jp', 'after.jp'])
  assert.deepEqual((await names(path)).slice(-1), ['after.jp'])
})

test('a file that cannot be opened stops the start before anything else', async (t) => {
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'audit'))
  const { status, stderr } = spawnSync(
    process.execPath,
    [new URL('../../src/server.ts', import.meta.url).pathname],
    {
      env: {
        ...process.env,
        MAILWRIGHT_DATA_DIR: join(folder, 'data'),
        PORT: '0',
        AUDIT_LOG_FILE: join(folder, 'audit'),
      },
      encoding: 'utf8',
    },
  )
  assert.equal(status, 1)
  assert.match(stderr, /^AUDIT_LOG_FILE: .*\/audit cannot be used: EISDIR.*\.$/m)
})
