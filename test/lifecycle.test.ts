import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { loadOrCreateKeys } from '../src/keys.ts'
import { scopes } from '../src/scopes.ts'
import { createClient, outcome } from './support/client.ts'
import { startExternalPostgres } from './support/external-postgres.ts'
import {
  freePort,
  type ServiceProcess,
  startProcess,
  stopProcess,
  temporaryFolder,
} from './support/process.ts'

const run = promisify(execFile)

async function clientFor({ url, dataDir }: Pick<ServiceProcess, 'url' | 'dataDir'>) {
  const keys = await loadOrCreateKeys(join(dataDir, 'token-key.json'))
  return createClient(url, await keys.sign({ subject: 'test', scopes, domains: '*', expiresInSeconds: 3600 }))
}

/** The process that serves the embedded database. Its data may have gone to another place, which the log tells. */
async function postmasterOf({ dataDir }: Pick<ServiceProcess, 'dataDir'>): Promise<number> {
  const text = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')
  return Number(text.split('\n')[0])
}

/** One that is dead and waits for its new parent to notice does not count. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) Z /.test(stat)
}

const password = 'correct horse battery'

test('keeps its data from one start to the next and leaves no process behind', async (t) => {
  const first = await startProcess(t)
  const postmaster = await postmasterOf(first)
  assert.equal((await (await clientFor(first)).post('/v1/domains', { name: 'example.jp' })).status, 201)
  assert.equal(await stopProcess(first.child), 0)
  assert.equal(await isRunning(postmaster), false)

  const second = await startProcess(t, { dataDir: first.dataDir })
  assert.equal((await (await clientFor(second)).get('/v1/domains/example.jp')).status, 200)
  assert.equal(await stopProcess(second.child, 'SIGINT'), 0)
})

test('finishes the requests in flight when it is stopped', async (t) => {
  const service = await startProcess(t)
  const client = await clientFor(service)
  await client.post('/v1/domains', { name: 'example.jp' })
  const names = Array.from({ length: 12 }, (_, i) => `flight${i}@example.jp`)
  const creates = names.map((address) => client.post('/v1/mailboxes', { address, password }))
  await creates[0] // the others are running or waiting for their turn
  const exit = stopProcess(service.child)
  assert.deepEqual(new Set((await Promise.all(creates)).map(outcome)), new Set(['201']))
  assert.equal(await exit, 0)
  const closed = service.child.stdout?.closed || once(service.child.stdout!, 'close')
  await closed
  const messages = service.output().match(/"msg":"[^"]*"/g) ?? []
  assert.equal(messages.filter((message) => message === '"msg":"request"').length, 13, 'one for each request')
  assert.equal(messages.at(-1), '"msg":"stopped"', 'the last line is written before the exit')
})

test('stops when npm is stopped', async (t) => {
  const [dataDir, port] = [await temporaryFolder(t), await freePort()]
  const npm = spawn('npm', ['start'], {
    env: { ...process.env, MAILWRIGHT_DATA_DIR: dataDir, PORT: String(port) },
    stdio: 'ignore',
  })
  t.after(() => stopProcess(npm))
  const ready = async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined))?.ok
  while (!(await ready())) await new Promise((resolve) => setTimeout(resolve, 50))
  const postmaster = await postmasterOf({ dataDir })
  await stopProcess(npm)
  const until = Date.now() + 30_000
  while ((await isRunning(postmaster)) || (await ready())) {
    assert.ok(Date.now() < until, 'the service outlives npm')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
})

test('a signal during the start leaves no Postgres behind', async (t) => {
  const dataDir = await temporaryFolder(t)
  const entry = new URL('../src/server.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [entry], {
    env: { ...process.env, MAILWRIGHT_DATA_DIR: dataDir, PORT: String(await freePort()) },
    stdio: 'ignore',
  })
  t.after(() => stopProcess(child))
  const socket = join(dataDir, 'socket', '.s.PGSQL.5432')
  while (!existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 5))
  const postmaster = await postmasterOf({ dataDir })
  await stopProcess(child)
  assert.equal(await isRunning(postmaster), false)
})

/** Creates one mailbox after the other until it is told to stop. An undefined answer is one that never came. */
function keepCreating(
  service: ServiceProcess,
  client: Awaited<ReturnType<typeof clientFor>>,
  prefix: string,
) {
  const answers = new Map<string, string | undefined>()
  let going = true
  const loop = (async () => {
    for (let i = 0; going; i++) {
      const name = `${prefix}${i}`
      const create = client
        .post('/v1/mailboxes', { address: `${name}@example.jp`, password })
        .catch(() => undefined)
      const reply = await create
      answers.set(name, reply && outcome(reply))
      if (reply?.status !== 201) await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  const until = async (condition: () => boolean) => {
    const deadline = Date.now() + 60_000
    while (!condition()) {
      assert.ok(Date.now() < deadline, `it took too long; the log:\n${service.output()}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const created = () => [...answers.values()].filter((answer) => answer === '201').length
  const stop = async () => {
    going = false
    await loop
    return answers
  }
  return { until, created, stop }
}

/** Every acknowledged mailbox is there with both logins; every other one is there whole or not at all. */
async function assertNothingLost(
  client: Awaited<ReturnType<typeof clientFor>>,
  answers: Map<string, string | undefined>,
) {
  for (const [name, answer] of answers) {
    const mailbox = await client.get(`/v1/mailboxes/${name}@example.jp`)
    const account = await client.get(`/v1/accounts/${name}`)
    assert.equal(mailbox.status, account.status, `${name}, answered ${answer}, is half there`)
    if (answer === '201') assert.equal(mailbox.status, 200, `${name} was acknowledged and is lost`)
    if (mailbox.status === 200) {
      assert.ok(mailbox.body.credentials.clear_text && mailbox.body.credentials.secure_password, name)
    }
  }
}

test('loses nothing it acknowledged when it is killed, and starts again beside the Postgres it left', async (t) => {
  const service = await startProcess(t)
  const client = await clientFor(service)
  await client.post('/v1/domains', { name: 'example.jp' })
  const orphan = await postmasterOf(service)
  const creating = keepCreating(service, client, 'killed')
  await creating.until(() => creating.created() >= 10)
  await stopProcess(service.child, 'SIGKILL')
  const answers = await creating.stop()
  assert.ok(await isRunning(orphan), 'the embedded Postgres outlives its service')

  const again = await startProcess(t, { dataDir: service.dataDir })
  await assertNothingLost(await clientFor(again), answers)
  assert.equal(await stopProcess(again.child), 0)
  assert.equal(await isRunning(orphan), false)
})

test('loses nothing it acknowledged when its Postgres is killed, and recovers by itself', async (t) => {
  const service = await startProcess(t)
  const client = await clientFor(service)
  await client.post('/v1/domains', { name: 'example.jp' })
  const creating = keepCreating(service, client, 'crash')
  for (let round = 1; round <= 3; round++) {
    await creating.until(() => creating.created() >= 5 * round)
    process.kill(await postmasterOf(service), 'SIGKILL')
    const before = creating.created()
    await creating.until(() => creating.created() > before + 1)
  }
  const answers = await creating.stop()
  const refusals = [...answers.values()].filter((answer) => answer !== '201')
  assert.ok(
    refusals.every((answer) => answer === '503 unavailable' || answer === '503 busy'),
    `only 503 while the database is away: ${[...new Set(refusals)]}`,
  )
  await assertNothingLost(client, answers)
})

test('answers 503 while an external Postgres is away, and recovers by itself', async (t) => {
  const postgres = await startExternalPostgres(t)
  const env = { DATABASE_URL: postgres.serviceUrl, MIGRATION_DATABASE_URL: postgres.ownerUrl }
  const service = await startProcess(t, { env })
  assert.doesNotMatch(service.output(), /owns the schema/)
  const client = await clientFor(service)
  assert.equal((await client.post('/v1/domains', { name: 'example.jp' })).status, 201)

  await postgres.stop()
  const refused = await client.get('/v1/domains/example.jp')
  assert.equal(outcome(refused), '503 unavailable')
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  assert.equal(outcome(await client.get('/readyz')), '503 unavailable')
  assert.equal((await client.get('/livez')).status, 200)

  await postgres.start()
  const recovered = async () => (await client.get('/v1/domains/example.jp')).status === 200
  for (const end = Date.now() + 30_000; !(await recovered()); ) {
    assert.ok(Date.now() < end, service.output())
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
})

test('works with one URL and warns about it', async (t) => {
  const { ownerUrl } = await startExternalPostgres(t)
  const service = await startProcess(t, { env: { DATABASE_URL: ownerUrl } })
  assert.match(service.output(), /DATABASE_URL owns the schema/)
  assert.equal((await (await clientFor(service)).post('/v1/domains', { name: 'example.jp' })).status, 201)
})

test('says what is wrong with a Postgres it cannot use', async (t) => {
  const { ownerUrl } = await startExternalPostgres(t)
  const wrong = new URL(ownerUrl)
  wrong.password = 'not-the-password'
  const start = startProcess(t, { env: { DATABASE_URL: String(wrong) } })
  await assert.rejects(start, (error: Error) => {
    assert.match(error.message, /Cannot use the Postgres .*password authentication failed/)
    assert.doesNotMatch(error.message, /not-the-password/)
    return true
  })
})

test('names every mistake of the environment at once', async () => {
  const env = { ...process.env, PORT: 'http', HOST: '0.0.0.0', AUTH_ISSUER: 'https://login.example.com' }
  const entry = new URL('../src/server.ts', import.meta.url).pathname
  const failure = await run(process.execPath, [entry], { env }).then(
    () => assert.fail('it must not start'),
    (error: { code: number; stderr: string }) => error,
  )
  assert.equal(failure.code, 2)
  for (const name of ['PORT', 'TLS_CERT_FILE', 'AUTH_AUDIENCE'])
    assert.match(failure.stderr, new RegExp(name))
})

test('refuses a data folder that another service uses', async (t) => {
  const first = await startProcess(t)
  const second = startProcess(t, { dataDir: first.dataDir, port: await freePort() })
  await assert.rejects(second, /another Mailwright/i)
  assert.equal((await fetch(`${first.url}/readyz`)).status, 200)
})

test('refuses a database that belongs to another key', async (t) => {
  const first = await startProcess(t)
  await stopProcess(first.child)
  const elsewhere = join(await temporaryFolder(t), 'key.json')
  const second = startProcess(t, { dataDir: first.dataDir, env: { TOKEN_KEY_FILE: elsewhere } })
  await assert.rejects(second, /belongs to the installation .*TOKEN_KEY_FILE/s)
})

test('shows a token on a terminal and nowhere else', async (t) => {
  const piped = await startProcess(t)
  while (!piped.output().includes('/v1/mailboxes')) await new Promise((resolve) => setTimeout(resolve, 20))
  assert.match(piped.output(), new RegExp(`listens on ${piped.url}`))
  assert.match(piped.output(), /TOKEN=\$\(MAILWRIGHT_DATA_DIR=\S+ npm run -s token\)/)
  assert.doesNotMatch(piped.output(), /eyJ/)
  await stopProcess(piped.child)

  const port = await freePort()
  const entry = new URL('../src/server.ts', import.meta.url).pathname
  // script(1) gives it a terminal; the service is stopped once it has said where it listens
  const { stdout } = await run(
    'timeout',
    [
      '60',
      'script',
      '-qec',
      `${process.execPath} ${entry} & service=$!; until curl -sf http://127.0.0.1:${port}/readyz; do sleep 0.2; done; sleep 3; kill $service; wait $service`,
      '/dev/null',
    ],
    {
      env: { ...process.env, MAILWRIGHT_DATA_DIR: piped.dataDir, PORT: String(port) },
    },
  )
  const token = /TOKEN=(eyJ\S+)/.exec(stdout)?.[1]
  assert.ok(token, stdout)
  const again = await startProcess(t, { dataDir: piped.dataDir })
  assert.equal((await createClient(again.url, token).get('/v1/domains')).status, 200)
})

test('speaks TLS with the certificate it is given', async (t) => {
  const folder = await temporaryFolder(t)
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=localhost',
    '-addext',
    'subjectAltName=IP:127.0.0.1',
    '-keyout',
    key,
    '-out',
    cert,
  ])
  const service = await startProcess(t, {
    env: { TLS_CERT_FILE: cert, TLS_KEY_FILE: key },
    certificate: cert,
  })
  const { stdout } = await run('curl', ['-sS', '--cacert', cert, `${service.url}/livez`])
  assert.deepEqual(JSON.parse(stdout), { status: 'ok' })
})
