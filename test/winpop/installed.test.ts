import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import own from '../../cli/package.json' with { type: 'json' }
import whole from '../../package.json' with { type: 'json' }
import { startService } from '../support/service.ts'

const service = await startService()
const root = new URL('../..', import.meta.url).pathname
const folder = await mkdtemp(join(tmpdir(), 'mailwright-installed-'))
const env = { ...process.env, MAILWRIGHT_DATA_DIR: folder }

function run(file: string, args: string[], options: { cwd?: string; env?: object } = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const how = { cwd: folder, timeout: 120_000, ...options, env: { ...env, ...options.env } }
    execFile(file, args, how, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    })
  })
}

before(async () => {
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', folder], {
    cwd: join(root, 'cli'),
  })
  assert.equal(packed.code, 0, packed.stdout + packed.stderr)
  await writeFile(join(folder, 'package.json'), '{}')
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error']
  const installed = await run('npm', ['install', ...quiet, `./${packed.stdout.trim()}`])
  assert.equal(installed.code, 0, installed.stderr)
})
after(() => rm(folder, { recursive: true }))

const bin = (name: string) => join(folder, 'node_modules/.bin', name)

test('what the package installs is built, and runs', async () => {
  const connection = { MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: await service.token() }
  const added = await run(bin('winpop'), ['ADD', 'example.jp'], { env: connection })
  assert.deepEqual(added, { code: 0, stdout: 'Domain successfully added.\n', stderr: '' })
  const listed = await run(bin('mailwright'), ['winpop', 'list'], { env: connection })
  assert.match(listed.stdout, /^example\.jp +0 {2}unlocked$/m)
  const refused = await run('npx', ['mailwright', 'winpop', 'lock', 'example.com'], { env: connection })
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /No such domain/)
  const none = await run(bin('winpop'), ['set', 'socket', '1', '2', '3', '4'], { env: connection })
  assert.equal(none.code, 2)
})

test('whoever reads the list may stop reading', async () => {
  const connection = { MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: await service.token() }
  const line = `"${bin('winpop')}" list | true; echo "\${PIPESTATUS[0]}"`
  const { stdout, stderr } = await run('bash', ['-c', line], { env: connection })
  assert.deepEqual({ stdout, stderr }, { stdout: '0\n', stderr: '' })
})

test('the other commands are in it, with help of their own', async () => {
  const help = await run(bin('mailwright'), ['--help'])
  for (const name of ['token', 'import', 'unseal', 'winpop'])
    assert.match(help.stdout, new RegExp(`^ {2}${name} `, 'm'))
  const token = await run(bin('mailwright'), ['token', '--scope', 'mailboxes:read', '--expires', '30m'])
  assert.match(token.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  assert.match((await run(bin('mailwright'), ['token', '--help'])).stdout, /^ {2}mailwright token /m)
  const mistake = await run(bin('mailwright'), ['token', '--expires', 'never'])
  assert.equal(mistake.code, 2)
  const pair = await run(bin('mailwright'), ['unseal', '--new', 'key.json'])
  assert.match(pair.stdout, /"crv":"P-256"/)
  await writeFile(join(folder, 'people.csv'), 'address\nnobody@elsewhere.example\n')
  const connection = { MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: 'void' }
  const imported = await run(bin('mailwright'), ['import', 'people.csv'], { env: connection })
  assert.match(imported.stderr, /^401 /)
  assert.equal(imported.code, 1)
  assert.equal((await run(bin('mailwright'), ['fly'])).code, 2)
})

test('its version and what it needs are those of the service', () => {
  assert.equal(own.version, whole.version)
  const needed = Object.entries(own.dependencies).filter(([name]) => name !== 'tr46') // 7 wants Node 22
  for (const [name, range] of needed) assert.equal(range, whole.dependencies[name as 'jose'], name)
})
