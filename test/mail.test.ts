import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { runAs } from '../src/embedded/run-as.ts'
import { openToGroup } from '../src/mail/socket.ts'
import { findUser } from '../src/mail/users.ts'
import { createClient } from './support/client.ts'
import { curlFetch, mpopFetch, send } from './support/mail-clients.ts'
import { cannotServeMail, eventually, runMail, stopMail } from './support/mail-servers.ts'

const source = (name: string) => fileURLToPath(new URL(`../src/${name}`, import.meta.url))
const deployMail = fileURLToPath(new URL('../deploy/mail', import.meta.url))
const password = 'MYSECRETPASSWORD'

const base = await mkdtemp(join(tmpdir(), 'mailwright-both-'))
await chmod(base, 0o711)
after(() => rm(base, { recursive: true, force: true }))

describe('beside a running service with its embedded Postgres', { skip: cannotServeMail }, () => {
  const dataDir = join(base, 'data')

  test('serves mail with one command, tells clients its ports, and leaves nothing running', async () => {
    const service = await startServer()
    const servers = await runMail(dataDir, {})
    try {
      const admin = createClient(service.url, service.token)
      await admin.post('/v1/domains', { name: 'example.jp' })
      const { body } = await admin.post('/v1/mailboxes', { address: 'user05@example.jp', password })
      const ports = body.credentials.servers.map(({ port }: { port: number }) => port)
      assert.deepEqual(ports, [servers.ports.pop3s, servers.ports.imaps, servers.ports.submission])
      const login = { user: 'user05@example.jp', password, mechanism: 'PLAIN' }
      assert.equal(await send(servers, { from: login.user, to: login.user, ...login }), '250')
      const fetched = () => curlFetch(servers, 'pop3', login).catch(() => '')
      assert.match(await eventually(fetched, 'the mail'), /^Subject: a test/m)
      assert.ok(await mpopFetch(servers, { ...login, user: 'user05', mechanism: 'SCRAM-SHA-256' }))
      assertClosed(servers.ports.doveadm)
    } finally {
      await stopMail(servers)
      service.process.kill('SIGTERM')
      await once(service.process, 'exit')
    }
    assert.equal(servers.process.exitCode, 0)
    assert.deepEqual(processesOf(dataDir), [])
  })

  /** What only the mail servers and the service may read. */
  function assertClosed(doveadmPort: number): void {
    for (const name of ['doveadm-key', 'doveadm-url']) assert.equal(modeOf(join(dataDir, name)), '600', name)
    assert.match(
      readFileSync(join(dataDir, 'doveadm-url'), 'utf8'),
      RegExp(`^http://127\\.0\\.0\\.1:${doveadmPort}\n$`),
    )
    const etc = join(dataDir, 'mail', 'etc')
    for (const name of readdirSync(etc).filter((one) => !one.endsWith('cert.pem')))
      assert.match(modeOf(join(etc, name)), /^6[04]0$/, name)
    assert.equal(modeOf(join(dataDir, 'mail', 'mail')), '700')
    assert.equal(modeOf(join(dataDir, 'socket')), '750')
  }

  async function startServer() {
    const env = { PATH: process.env.PATH, PORT: '0', MAILWRIGHT_DATA_DIR: dataDir }
    const child = spawn(process.execPath, [source('server.ts')], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    after(() => child.kill('SIGKILL')) // where the test failed before it could stop it
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        said += chunk
      })
    const started = () => /Mailwright listens on (http\S+)/.exec(said)?.[1]
    const url = (await eventually(started, 'the start of the service', 60_000)) ?? ''
    const { stdout } = spawnSync(process.execPath, [source('token.ts')], { env, encoding: 'utf8' })
    return { process: child, url, token: /eyJ[\w.-]+/.exec(stdout)?.[0] ?? '' }
  }
})

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8)
}

function processesOf(folder: string): string[] {
  const { stdout } = spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line.includes(folder))
}

test('says that there is no service to serve', { skip: cannotServeMail }, () => {
  const env = { PATH: process.env.PATH, MAILWRIGHT_DATA_DIR: join(base, 'nothing') }
  const { status, stderr } = spawnSync(deployMail, { env, encoding: 'utf8' })
  assert.equal(status, 1)
  assert.match(stderr, /start the service first \(npm start\)/)
  assert.equal(existsSync(env.MAILWRIGHT_DATA_DIR), false)
})

test('says what is wrong with the environment', { skip: cannotServeMail }, () => {
  const env = { PATH: process.env.PATH, SMTP_PORT: 'twenty-five' }
  const { status, stderr } = spawnSync(deployMail, { env, encoding: 'utf8' })
  assert.equal(status, 2)
  assert.match(stderr, /SMTP_PORT must be a whole number/)
})

test('says that it needs root', () => {
  const somebody = 'data:text/javascript,process.getuid = () => 1000'
  const { status, stderr } = spawnSync(process.execPath, ['--import', somebody, source('mail.ts')], {
    encoding: 'utf8',
  })
  assert.equal(status, 1)
  assert.match(stderr, /needs root.*sudo deploy\/mail/)
})

test('passes the socket on where a folder above it is closed to the mail servers', {
  skip: cannotServeMail,
}, async () => {
  const user = await findUser('postfix')
  assert.ok(user)
  const home = await mkdtemp(join(base, 'home-')) // 0700
  const folder = join(home, 'socket')
  await mkdir(folder)
  const server = createServer((socket) => socket.end('reached')).listen(join(folder, '.s.PGSQL.5432'))
  await once(server, 'listening')
  const ask = async (place: string) =>
    (
      await runAs(user, '/usr/bin/curl', [
        '-sS',
        '--http0.9',
        '--unix-socket',
        join(place, '.s.PGSQL.5432'),
        'http://x',
      ])
    ).output
  const passed = await openToGroup(folder, user, join(base, 'ours'))
  assert.equal(passed.folder, join(base, 'ours'))
  assert.equal(await ask(passed.folder), 'reached')
  await passed.close()
  await chmod(home, 0o711)
  const open = await openToGroup(folder, user, join(base, 'ours'))
  assert.equal(open.folder, folder)
  assert.equal(modeOf(folder), '750')
  await open.close()
  server.close()
})
