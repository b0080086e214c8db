import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
import { readOrCreateKeyFile } from '../src/key-file.ts'

let folder: string
let jwk: JWK
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'key-file-'))
  jwk = await exportJWK((await generateKeyPair('Ed25519', { extractable: true })).privateKey)
})
after(() => rm(folder, { recursive: true }))

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text, { mode: 0o600 })
  return path
}

test('makes the file and its folder, for nobody else to read', async () => {
  const path = join(folder, 'deep', 'er', 'token-key.json')
  const file = await readOrCreateKeyFile(path)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), file)
  assert.match(file.installation ?? '', /^[0-9a-f-]{36}$/)
  assert.equal(file.keys.length, 1)
  assert.deepEqual(await readdir(join(folder, 'deep', 'er')), ['token-key.json'])
})

test('many at once end with one file', async () => {
  const path = join(folder, 'race', 'token-key.json')
  const files = await Promise.all(Array.from({ length: 20 }, () => readOrCreateKeyFile(path)))
  assert.equal(new Set(files.map(({ installation }) => installation)).size, 1)
  assert.equal(new Set(files.map(({ keys }) => keys[0]?.x)).size, 1)
  assert.deepEqual(await readdir(join(folder, 'race')), ['token-key.json'])
})

test('never changes a file that is there', async () => {
  const text = JSON.stringify({ keys: [jwk] })
  const path = await write('kept.json', text)
  await readOrCreateKeyFile(path)
  assert.equal(await readFile(path, 'utf8'), text)
})

test('follows a symbolic link, as to a mounted secret', async () => {
  const link = join(folder, 'link.json')
  await symlink(await write('target.json', JSON.stringify({ keys: [jwk] })), link)
  assert.equal((await readOrCreateKeyFile(link)).keys[0]?.x, jwk.x)
})

for (const mode of [0o400, 0o440, 0o600, 0o640]) {
  test(`accepts a file of mode ${mode.toString(8)}`, async () => {
    const path = await write(`mode-${mode}.json`, JSON.stringify({ keys: [jwk] }))
    await chmod(path, mode)
    assert.equal((await readOrCreateKeyFile(path)).keys.length, 1)
  })
}

for (const mode of [0o604, 0o644, 0o660, 0o602, 0o601]) {
  test(`refuses a file of mode ${mode.toString(8)}`, async () => {
    const path = await write(`mode-${mode}.json`, JSON.stringify({ keys: [jwk] }))
    await chmod(path, mode)
    await assert.rejects(readOrCreateKeyFile(path), (error: Error) =>
      error.message.includes(`chmod 600 ${path}`),
    )
  })
}

const damagedFiles: [name: string, content: () => unknown][] = [
  ['empty', () => ''],
  ['cut off', () => JSON.stringify({ keys: [jwk] }).slice(0, -20)],
  ['null', () => null],
  ['an array', () => [jwk]],
  ['without keys', () => ({ installation: '0b0e7a3c-1111-4111-8111-111111111111' })],
  ['with no key in its set', () => ({ keys: [] })],
  ['with a public key first', () => ({ keys: [{ ...jwk, d: undefined }] })],
  ['with a symmetric key', () => ({ keys: [jwk, { kty: 'oct', k: jwk.d }] })],
  ['with a key of another curve', () => ({ keys: [{ ...jwk, crv: 'X25519' }] })],
  ['with an installation that is no UUID', () => ({ installation: 'mine', keys: [jwk] })],
  [
    'with one kid twice',
    () => ({
      keys: [
        { ...jwk, kid: 'a' },
        { ...jwk, kid: 'a' },
      ],
    }),
  ],
]
for (const [name, content] of damagedFiles) {
  test(`refuses a file ${name}, naming the path and not the content`, async () => {
    const value = content()
    const path = await write('damaged.json', typeof value === 'string' ? value : JSON.stringify(value))
    await assert.rejects(readOrCreateKeyFile(path), (error: Error) => {
      assert.match(error.message, /^The key file .*damaged\.json cannot be used: /)
      assert.ok(!`${error.stack} ${error.cause}`.includes(jwk.d!.slice(0, 8)))
      return true
    })
  })
}
