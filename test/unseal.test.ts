import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { sealFor } from '../src/accounts/sealed-password.ts'
import { parseSealingKey } from '../src/accounts/sealing-key.ts'
import { run as runProgram } from './support/mail-clients.ts'
import { makeSealingPair, type SealingPair } from './support/sealing.ts'

const command = join(import.meta.dirname, '../src/unseal.ts')
const password = 'Rk7mD-x3vQz-9tHwB-LpN4c-uJ6yG'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'unseal-'))
})
after(() => rm(folder, { recursive: true }))

/** What it printed on both streams, and its exit code. */
const unseal = (args: string[], input = '') => runProgram(process.execPath, [command, ...args], input)

async function seal({ publicKey }: Pick<SealingPair, 'publicKey'>, address: string): Promise<string> {
  const sealTo = parseSealingKey({ ...publicKey })
  const { sealed_password } = await sealFor({ text: password, generated: true, sealTo }, address)
  return sealed_password!
}

async function keyFile(pair: SealingPair, mode = 0o600): Promise<string> {
  const path = join(folder, `key-${Math.random()}.json`)
  await writeFile(path, JSON.stringify(pair.privateKey))
  await chmod(path, mode)
  return path
}

const addressesOf = (output: string) =>
  output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map((payload) => {
      assert.deepEqual(Object.keys(payload), ['address', 'password', 'iat'])
      assert.equal(payload.password, password)
      return payload.address
    })

test('makes a pair that the service seals to, and opens what was sealed', async () => {
  const path = join(folder, 'made.json')
  const made = await unseal(['--new', path])
  assert.equal(made.code, 0)
  const publicKey = JSON.parse(made.output)
  assert.deepEqual(Object.keys(publicKey), ['kty', 'crv', 'x', 'y', 'kid', 'use', 'alg'])
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  const jwe = await seal({ publicKey }, 'a@a.jp')
  assert.deepEqual(addressesOf((await unseal([path], jwe)).output), ['a@a.jp'])

  const before = await readFile(path, 'utf8')
  const again = await unseal(['--new', path])
  assert.deepEqual([again.code, again.output], [1, `${path} is there already; take another name.\n`])
  assert.equal(await readFile(path, 'utf8'), before)
})

for (const kind of ['P-256', 'P-384', 'P-521', 'X25519', 2048] as const) {
  test(`opens with a key of the kind ${kind}`, async () => {
    const pair = await makeSealingPair(kind)
    const path = await keyFile(pair)
    assert.deepEqual(addressesOf((await unseal([path], await seal(pair, 'a@a.jp'))).output), ['a@a.jp'])
    const { alg: _, ...privateKey } = pair.privateKey
    const plain = await keyFile({ ...pair, privateKey })
    assert.deepEqual(addressesOf((await unseal([plain], await seal(pair, 'b@a.jp'))).output), ['b@a.jp'])
  })
}

test('takes answers as they came, one to a line or over many, and lines with nothing else', async () => {
  const pair = await makeSealingPair()
  const path = await keyFile(pair)
  const sealed = await Promise.all(['a@a.jp', 'b@a.jp', 'c@a.jp', 'd@a.jp'].map((one) => seal(pair, one)))
  const answers = [
    JSON.stringify({ address: 'a.b.c.d.example.jp', sealed_password: sealed[0] }),
    JSON.stringify({ sealed_password: sealed[1], credentials: { servers: ['eyJ.a.example.jp'] } }, null, 2),
    sealed[2],
    `HTTP/1.1 201 Created\r\n\r\n{"sealed_password":"${sealed[3]}"}`,
  ]
  const { code, output } = await unseal([path], answers.join('\n'))
  assert.equal(code, 0)
  assert.deepEqual(addressesOf(output), ['a@a.jp', 'b@a.jp', 'c@a.jp', 'd@a.jp'])
})

test('opens those it can, and says how many it cannot', async () => {
  const [pair, other] = await Promise.all([makeSealingPair(), makeSealingPair()])
  const path = await keyFile(pair)
  const mine = await seal(pair, 'a@a.jp')
  // its first letter: of the last one of a part some bits may stand for nothing (RFC 4648 §3.5)
  const changed = mine.replace(/(?<=\.)[^.](?=[^.]*\.[^.]*$)/, (letter) => (letter === 'A' ? 'B' : 'A'))
  const input = [await seal(other, 'b@a.jp'), changed, mine].join('\n')
  const { code, output } = await unseal([path], input)
  assert.equal(code, 1)
  assert.match(output, /"address":"a@a.jp".*\n2 of 3 cannot be opened with this key\.\n$/)
})

test('says that a key file is open to others, and opens all the same', async () => {
  const pair = await makeSealingPair()
  const path = await keyFile(pair, 0o644)
  const { code, output } = await unseal([path], await seal(pair, 'a@a.jp'))
  assert.equal(code, 0)
  assert.ok(output.includes(`Others of this machine can use ${path}. Run: chmod 600 ${path}\n`))
})

test('mistakes are a plain message and leave the key out of it', async () => {
  const pair = await makeSealingPair()
  const good = await keyFile(pair)
  const damaged = join(folder, 'damaged.json')
  await writeFile(damaged, `{"d": secret-content`, { mode: 0o600 })
  const open = join(folder, 'public.json')
  await writeFile(open, JSON.stringify(pair.publicKey), { mode: 0o600 })
  const odd = join(folder, 'odd.json')
  await writeFile(odd, '{"kty":"EC","crv":"P-256","d":"secret-content"}', { mode: 0o600 })
  const jwe = await seal(pair, 'a@a.jp')
  const cases: [string[], string, number, RegExp][] = [
    [[], jwe, 2, /Name one key file[\s\S]*npm run -s unseal/],
    [[good, good], jwe, 2, /Name one key file/],
    [['--new', 'x', good], jwe, 2, /Name one key file/],
    [['--old', good], jwe, 2, /--old/],
    [[good], 'nothing sealed', 1, /^There is no sealed password in what was read\.\n$/],
    [[join(folder, 'absent.json')], jwe, 1, /^ENOENT[^\n]*absent\.json/],
    [[damaged], jwe, 1, /holds no private key as a JWK/],
    [[open], jwe, 1, /holds no private key as a JWK/],
    [[odd], jwe, 1, /holds no private key that passwords are sealed to/],
  ]
  for (const [args, input, expected, message] of cases) {
    const { code, output } = await unseal(args, input)
    assert.equal(code, expected, output)
    assert.match(output, message)
    assert.ok(!output.includes('secret-content') && !output.includes(pair.privateKey.d!))
  }
  const help = await unseal(['--help'])
  assert.equal(help.code, 0)
  assert.match(help.output, /npm run -s unseal -- --new KEYFILE/)
})
