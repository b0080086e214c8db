import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { loadOrCreateKeys } from '../src/keys.ts'
import { scopes } from '../src/scopes.ts'

const command = join(import.meta.dirname, '../src/token.ts')

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'token-'))
})
after(() => rm(folder, { recursive: true }))

function run(args: string[], env: Record<string, string> = { MAILWRIGHT_DATA_DIR: join(folder, 'data') }) {
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile(process.execPath, [command, ...args], { env, cwd: folder }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    )
  })
}

async function claimsOf(token: string, path = join(folder, 'data', 'token-key.json')) {
  const { iss, aud, jti, iat, exp, ...claims } = await (await loadOrCreateKeys(path)).verify(token.trim())
  return { ...claims, minutes: (exp! - iat!) / 60 }
}

test('without options prints a token for everything and one hour as the only line', async () => {
  const { code, stdout, stderr } = await run([])
  assert.equal(code, 0)
  assert.match(stderr, /^There was no key yet; a new one is in .*token-key\.json\.\n$/)
  assert.equal((await run([])).stderr, '')
  assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/)
  assert.deepEqual(await claimsOf(stdout), {
    sub: 'command-line',
    client_id: 'command-line',
    scope: scopes.join(' '),
    domains: ['*'],
    minutes: 60,
  })
  assert.equal((await stat(join(folder, 'data', 'token-key.json'))).mode & 0o777, 0o600)
})

const cases: [args: string[], claims: object][] = [
  [['--scope', 'mailboxes:write domains:read'], { scope: 'mailboxes:write domains:read' }],
  [['--scope', 'mailboxes:write', '--scope', 'domains:read'], { scope: 'mailboxes:write domains:read' }],
  [['--domain', 'example.jp', '--domain', 'EXAMPLE.com.'], { domains: ['example.jp', 'example.com'] }],
  [['--domain', '例え.jp'], { domains: ['xn--r8jz45g.jp'] }],
  [['--domain', '*'], { domains: ['*'] }],
  [['--expires', '30m'], { minutes: 30 }],
  [['--expires', '1h'], { minutes: 60 }],
  [['--expires=24h'], { minutes: 1440 }],
  [['--expires', '1440m'], { minutes: 1440 }],
  [['--subject', 'hr-sync'], { sub: 'hr-sync' }],
  [['--password-delivery', 'sealed'], { password_delivery: 'sealed' }],
]
for (const [args, expected] of cases) {
  test(`token ${args.join(' ')}`, async () => {
    const { code, stdout, stderr } = await run(args)
    assert.deepEqual([code, stderr], [0, ''])
    assert.partialDeepStrictEqual(await claimsOf(stdout), expected)
  })
}

const mistakes: [args: string[], stderr: RegExp][] = [
  [['--scope', 'domains:read mailboxes:all'], /Unknown scope: "mailboxes:all"/],
  [['--scope', 'domains:read,domains:write'], /Unknown scope: "domains:read,domains:write"/],
  [['--scope', '*'], /Unknown scope/],
  [['--scope', ''], /at least one scope/],
  [['--scope'], /scope/],
  [['--domain', 'not a domain'], /--domain "not a domain": /],
  [['--domain', ''], /--domain/],
  [['--domain', '*.example.jp'], /--domain/],
  [['--domain', 'example.jp\u001b[2J'], /--domain "example.jp\\u001b\[2J"/],
  [['--expires', '25h'], /at most 24h/],
  [['--expires', '1441m'], /at most 24h/],
  [['--expires', '0h'], /--expires/],
  [['--expires', '-1h'], /expires/],
  [['--expires', '1'], /--expires/],
  [['--expires', '1d'], /--expires/],
  [['--expires', '1e9h'], /--expires/],
  [['--expires', '3600'], /--expires/],
  [['--subject', ''], /--subject/],
  [['--subject', 'a b'], /--subject/],
  [['--password-delivery', 'clear'], /--password-delivery is sealed or any/],
  [['--password-delivery'], /password-delivery/],
  [['--all'], /--all/],
  [['domains:read'], /domains:read/],
]
for (const [args, message] of mistakes) {
  test(`refuses ${JSON.stringify(args)} with the usage`, async () => {
    const { code, stdout, stderr } = await run(args)
    assert.deepEqual([code, stdout], [2, ''])
    assert.match(stderr, message)
    assert.match(stderr, /npm run -s token --/)
  })
}

test('--help prints the usage with every scope', async () => {
  const { code, stdout, stderr } = await run(['--help'])
  assert.deepEqual([code, stderr], [0, ''])
  for (const scope of scopes) assert.ok(stdout.includes(scope))
})

test('TOKEN_KEY_FILE names another place', async () => {
  const path = join(folder, 'elsewhere', 'key.json')
  const { stdout } = await run([], { TOKEN_KEY_FILE: path })
  assert.equal((await claimsOf(stdout, path)).sub, 'command-line')
})

test('an unusable key file or environment is a plain message and exit 1', async () => {
  const path = join(folder, 'damaged.json')
  await writeFile(path, '{"keys":"secret-content"}', { mode: 0o600 })
  const damaged = await run([], { TOKEN_KEY_FILE: path })
  assert.deepEqual([damaged.code, damaged.stdout], [1, ''])
  assert.match(damaged.stderr, /^The key file .*damaged\.json cannot be used: [^\n]*\n$/)
  assert.ok(!damaged.stderr.includes('secret-content'))

  const environment = await run([], { MAILWRIGHT_DATA_DIR: join(folder, 'data'), PORT: 'x' })
  assert.deepEqual([environment.code, environment.stdout], [1, ''])
  assert.match(environment.stderr, /PORT/)
})
