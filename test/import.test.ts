import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startService } from './support/service.ts'

const service = await startService({ jobs: { dataDir: '/nonexistent' } })
const api = await service.as()
const folder = await mkdtemp(join(tmpdir(), 'mailwright-import-'))
after(() => rm(folder, { recursive: true }))
const program = new URL('../src/import.ts', import.meta.url).pathname

function runImport(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, MAILWRIGHT_URL: service.url, MAILWRIGHT_TOKEN: api.token }
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })
}

// As `select username as address, password as password_hash, name as display_name, quota as quota_bytes` writes them.
const postfixAdmin = [
  'address,password_hash,display_name,quota_bytes',
  'hanako@old.example,{SHA512-CRYPT}$6$rounds=5000$usesomesillystri$D4IrlXatmP7rx3P3InaxBeoomnAihCKRVQAr/36.eqwLBxjpJyW8p5hl6jQXWLxNBC7ouy9Wp2Vm/Mb7mGTxJ0,Hanako Yamada,1024000000',
  'taro@old.example,$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy,"Yamada, Taro",0',
  'md5@old.example,$1$abcdefgh$irWbblnpmw.5z7wgBnprh0,Old Hash,0',
]

test('drives a file of PostfixAdmin, and prints what is refused', async () => {
  await api.post('/v1/domains', { name: 'old.example' })
  const file = join(folder, 'people.csv')
  await writeFile(file, `${postfixAdmin.join('\n')}\n`)
  const tried = await runImport(file, '--dry-run')
  assert.equal(tried.stderr, 'tried, 2 created, 1 failed\n')
  assert.equal((await api.get('/v1/mailboxes')).body.items.length, 0)
  const { code, stdout, stderr } = await runImport(file)
  assert.deepEqual([code, stderr], [1, 'completed, 2 created, 1 failed\n'])
  assert.match(stdout, /^line,.*\r\n4,ensure,md5@old\.example,failed,,,password-hash-refused,/)
  const { body } = await api.get('/v1/mailboxes/hanako@old.example')
  assert.deepEqual([body.quota_bytes, body.account.display_name], [1024000000, 'Hanako Yamada'])
  const good = join(folder, 'good.csv')
  await writeFile(good, `${postfixAdmin.slice(0, 3).join('\n')}\n`)
  assert.deepEqual(await runImport(good), { code: 0, stdout: '', stderr: 'completed, 2 unchanged\n' })
})

test('says what is wrong with the file', async () => {
  const file = join(folder, 'bad.csv')
  await writeFile(file, 'adress\n')
  const { code, stderr } = await runImport(file)
  assert.equal(code, 1)
  assert.match(stderr, /^400 .*\nline\/1: names in column 1/)
})
