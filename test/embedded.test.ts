import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres, startTemporaryPostgres } from '../src/embedded.ts'

const root = process.getuid!() === 0
const asRoot = { skip: root ? false : 'needs root: this user cannot give Postgres to another' }

// Everything lies below one folder that the user without rights can pass through.
const base = await mkdtemp(join(tmpdir(), 'mw-'))
await chmod(base, 0o711)
const running: EmbeddedPostgres[] = []
afterEach(async () => {
  for (const postgres of running.splice(0)) await postgres.stop()
})
after(() => rm(base, { recursive: true, force: true }))

let folders = 0
function newDataDir(): string {
  return join(base, `d${++folders}`)
}

const logged: string[] = []
async function start(
  dataDir: string,
  options: Partial<Parameters<typeof startEmbeddedPostgres>[0]> = {},
): Promise<EmbeddedPostgres> {
  const log = (level: string, message: string) => logged.push(`${level} ${message}`)
  const postgres = await startEmbeddedPostgres({ dataDir, log, fallbackDir: join(base, 'moved'), ...options })
  running.push(postgres)
  return postgres
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client(url)
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.query(sql)).rows
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function eventually<T>(what: () => Promise<T>): Promise<T> {
  for (const until = Date.now() + 20_000; ; await sleep(50)) {
    try {
      return await what()
    } catch (error) {
      if (Date.now() > until) throw error
    }
  }
}

function pidFile(dataDir: string): string {
  return join(dataDir, 'postgres', 'postmaster.pid')
}

function postmasterOf(dataDir: string): number {
  return Number.parseInt(readFileSync(pidFile(dataDir), 'utf8'), 10)
}

/** A zombie does not: the init of a container may leave it for ever. */
function lives(pid: number): boolean {
  try {
    if (process.platform === 'linux') return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8)
}

/** Another process that starts the embedded Postgres and does what `then` says. */
async function startInChild(dataDir: string, then: string): Promise<{ child: ChildProcess; url: string }> {
  const script = `
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('../src/embedded.ts', import.meta.url).href)}
    const postgres = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)}, log() {} })
    console.log(postgres.url)
    ${then}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr!.on('data', (chunk) => {
    errors += chunk
  })
  const [line] = await Promise.race([once(child.stdout!, 'data'), once(child, 'close')])
  if (!(line instanceof Buffer)) throw new Error(`The service ended at its start: ${errors}`)
  return { child, url: line.toString().trim() }
}

const stay = 'setInterval(() => {}, 1000)'

async function killService(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

describe('starting', () => {
  test('a second start finds the data of the first, and other settings', async () => {
    const dataDir = newDataDir()
    const first = await start(dataDir)
    await query(first.url, 'CREATE TABLE t AS SELECT 42 AS n')
    await first.stop()
    const second = await start(dataDir, { settings: { max_connections: '17' } })
    assert.equal(second.url, first.url)
    assert.deepEqual(await query(second.url, 'SELECT n FROM t'), [{ n: 42 }])
    assert.deepEqual(await query(second.url, 'SHOW max_connections'), [{ max_connections: '17' }])
  })

  test('the database is durable, has checksums and is UTF-8 sorted by bytes', async () => {
    const { url } = await start(newDataDir())
    const [row] = await query(
      url,
      `SELECT current_database() AS name, current_setting('fsync') AS fsync, lower('Ä') AS lower,
        current_setting('synchronous_commit') AS commit, current_setting('full_page_writes') AS pages,
        current_setting('data_checksums') AS sums, current_setting('server_encoding') AS encoding,
        'Z' < 'a' AS bytes`,
    )
    assert.deepEqual(row, {
      name: 'mailwright',
      fsync: 'on',
      commit: 'on',
      pages: 'on',
      sums: 'on',
      encoding: 'UTF8',
      lower: 'ä',
      bytes: true,
    })
  })

  test('an interrupted initdb does not spoil the next start', async () => {
    const dataDir = newDataDir()
    await mkdir(join(dataDir, 'postgres-draft-abc', 'cluster'), { recursive: true })
    writeFileSync(join(dataDir, 'postgres-draft-abc', 'cluster', 'PG_VERSION'), '18\n')
    const { url } = await start(dataDir)
    assert.deepEqual(await query(url, 'SELECT 1 AS n'), [{ n: 1 }])
    assert.deepEqual(
      readdirSync(dataDir).filter((name) => name.includes('draft')),
      [],
    )
  })

  test('an error tells what Postgres says, and a start without the mistake succeeds', async () => {
    const dataDir = newDataDir()
    const wrong = start(dataDir, { settings: { shared_buffers: 'much' } })
    await assert.rejects(wrong, /invalid value for parameter "shared_buffers": "much"/)
    await start(dataDir)
  })

  test('a cluster of another major version is named, not started', async () => {
    const dataDir = newDataDir()
    await (await start(dataDir)).stop()
    writeFileSync(join(dataDir, 'postgres', 'PG_VERSION'), '9\n')
    await assert.rejects(start(dataDir), /was made by PostgreSQL 9, and this is PostgreSQL \d+/)
  })

  test('a lost password file is named, and not replaced by one that does not fit', async () => {
    const dataDir = newDataDir()
    await (await start(dataDir)).stop()
    rmSync(join(dataDir, 'postgres-password'))
    await assert.rejects(start(dataDir), /put .*postgres-password back/)
    assert.equal(existsSync(join(dataDir, 'postgres-password')), false)
  })

  for (const name of ['with space, comma and "quote" é', 'x'.repeat(120)]) {
    test(`the data folder may be called ${name}`, async () => {
      const dataDir = join(base, name)
      const first = await start(dataDir)
      await query(first.url, 'CREATE TABLE t ()')
      await first.stop()
      rmSync(first.place.socketDir, { recursive: true }) // as the system empties /run
      const second = await start(dataDir)
      assert.equal(second.place.socketDir, first.place.socketDir)
      assert.deepEqual(await query(second.url, 'SELECT FROM t'), [])
      await second.stop()
      await rm(second.place.socketDir, { recursive: true })
    })
  }
})

describe('who gets in', () => {
  test('there is no TCP', async () => {
    const { url } = await start(newDataDir())
    assert.deepEqual(await query(url, 'SHOW listen_addresses'), [{ listen_addresses: '' }])
    const { username, password } = new URL(url)
    // Whatever else may listen there does not know this user.
    for (const host of ['127.0.0.1', '[::1]']) {
      const tcp = `postgresql://${username}:${password}@${host}:5432/mailwright`
      await assert.rejects(
        query(tcp, 'SELECT 1'),
        /ECONNREFUSED|EADDRNOTAVAIL|authentication failed|no pg_hba.conf entry/,
      )
    }
  })

  test('nobody without the random password', async () => {
    const { url } = await start(newDataDir())
    for (const [user, password] of [
      ['postgres', 'password'],
      ['postgres', ''],
      ['mailwright_owner', 'password'],
      ['mailwright_owner', 'mailwright'],
    ] as const) {
      const guess = new URL(url)
      guess.username = user
      guess.password = password
      await assert.rejects(query(guess.href, 'SELECT 1'), /authentication failed|client password must be/)
    }
  })

  test('files and folders are closed to others', async () => {
    const dataDir = newDataDir()
    const { place } = await start(dataDir)
    assert.equal(place.dataDir, dataDir)
    const modes = {
      '': '711',
      socket: '750',
      postgres: '700',
      'postgres-password': '600',
      'postgres.log': '600',
    }
    for (const [name, mode] of Object.entries(modes)) assert.equal(modeOf(join(dataDir, name)), mode, name)
    assert.equal(modeOf(join(dataDir, 'mailwright.lock')), '600')
    const password = readFileSync(join(dataDir, 'postgres-password'), 'utf8').trim()
    assert.equal(password.length, 32)
    const owner = statSync(join(dataDir, 'postgres')).uid
    assert.equal(statSync(place.socketDir).uid, owner)
    assert.equal(owner === 0, false)
  })

  test('a data folder that holds other things keeps its mode', async () => {
    const dataDir = newDataDir()
    await mkdir(dataDir)
    await chmod(dataDir, 0o755)
    writeFileSync(join(dataDir, 'holiday.jpg'), '')
    await start(dataDir)
    assert.equal(modeOf(dataDir), '755')
  })

  test('as root, Postgres runs as a user without rights', asRoot, async () => {
    const dataDir = newDataDir()
    const { place } = await start(dataDir)
    assert.ok(['mailwright', 'postgres', 'nobody'].includes(place.user), place.user)
    const status = readFileSync(`/proc/${postmasterOf(dataDir)}/status`, 'utf8')
    assert.match(status, /^Uid:\t(?!0\t)/m)
    assert.match(status, /^Groups:\t? *$/m)
  })

  test('as root, a closed data folder is left for one that Postgres can reach', asRoot, async () => {
    const closed = newDataDir()
    await mkdir(closed)
    await chmod(closed, 0o700)
    const first = await start(join(closed, 'data'))
    assert.match(first.place.dataDir, /\/moved\/data-/)
    assert.match(first.notes.join(), /cannot reach .*data, so the database is in .*moved/)
    assert.equal(modeOf(closed), '700')
    await query(first.url, 'CREATE TABLE t ()')
    await first.stop()
    await chmod(closed, 0o711)
    const second = await start(join(closed, 'data'))
    assert.equal(second.url, first.url)
    assert.deepEqual(await query(second.url, 'SELECT FROM t'), [])
  })
})

describe('staying', () => {
  test('a killed Postgres is started again, and nothing acknowledged is lost', async () => {
    const dataDir = newDataDir()
    const { url } = await start(dataDir)
    for (let round = 1; round <= 3; round++) {
      await query(url, `CREATE TABLE t${round} ()`)
      const pid = postmasterOf(dataDir)
      process.kill(pid, 'SIGKILL')
      assert.deepEqual(await eventually(() => query(url, `SELECT FROM t${round}`)), [])
      assert.notEqual(postmasterOf(dataDir), pid)
    }
    assert.match(logged.join('\n'), /error The embedded Postgres ended \(SIGKILL\) and is started again/)
  })

  test('a stop ends it for good, also while it is being started again', async () => {
    for (const pauseMs of [0, 5, 90, 110, 150]) {
      const dataDir = newDataDir()
      const postgres = await start(dataDir)
      process.kill(postmasterOf(dataDir), 'SIGKILL')
      await sleep(pauseMs)
      await postgres.stop()
      await sleep(200)
      const pid = existsSync(pidFile(dataDir)) ? postmasterOf(dataDir) : 0
      assert.equal(pid > 0 && lives(pid), false, `after ${pauseMs} ms`)
    }
  })

  test('a stop is clean, leaves no process, and may come twice', async () => {
    const dataDir = newDataDir()
    const postgres = await start(dataDir)
    const idle = new Client(postgres.url)
    idle.on('error', () => undefined)
    await idle.connect()
    const pid = postmasterOf(dataDir)
    await Promise.all([postgres.stop(), postgres.stop()])
    await postgres.stop()
    assert.equal(lives(pid), false)
    assert.equal(existsSync(pidFile(dataDir)), false)
    assert.deepEqual(readdirSync(postgres.place.socketDir), [])
    assert.match(readFileSync(join(dataDir, 'postgres.log'), 'utf8'), /database system is shut down\n$/)
  })
})

describe('a service that did not stop Postgres', () => {
  test('killed: its Postgres is stopped, and the start finds the data', async () => {
    const dataDir = newDataDir()
    const { child, url } = await startInChild(dataDir, stay)
    await query(url, 'CREATE TABLE t ()')
    const left = postmasterOf(dataDir)
    await killService(child)
    assert.ok(lives(left), 'Postgres outlives its service')
    const again = await start(dataDir)
    assert.equal(lives(left), false)
    assert.deepEqual(await query(again.url, 'SELECT FROM t'), [])
    assert.match(logged.join('\n'), new RegExp(`warn Stopped the Postgres \\(pid ${left}\\)`))
  })

  test('ended without a word: Postgres does not hold it up', async () => {
    const dataDir = newDataDir()
    const { child } = await startInChild(dataDir, '')
    const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(5000) })
    assert.equal(code, 0)
    await start(dataDir)
  })

  test('killed together with Postgres, a statement still running: the start waits for its end', async () => {
    const dataDir = newDataDir()
    const { child, url } = await startInChild(dataDir, stay)
    await query(url, 'CREATE TABLE t ()')
    // Computes without ever waiting, so that it does not notice that the postmaster is gone.
    const busy = query(url, 'SELECT count(*) FROM generate_series(1, 20000000)').catch(() => 'lost')
    await sleep(300)
    child.kill('SIGKILL')
    process.kill(postmasterOf(dataDir), 'SIGKILL')
    const again = await start(dataDir)
    assert.deepEqual(await query(again.url, 'SELECT FROM t'), [])
    assert.match(readFileSync(join(dataDir, 'postgres.log'), 'utf8'), /pre-existing shared memory block/)
    await busy
  })

  test('still living: the second start names it and touches nothing', async () => {
    const dataDir = newDataDir()
    const { child, url } = await startInChild(dataDir, stay)
    const pid = postmasterOf(dataDir)
    await assert.rejects(start(dataDir), {
      message: `another Mailwright (pid ${child.pid}) is using this data folder: ${dataDir}`,
    })
    assert.equal(postmasterOf(dataDir), pid)
    assert.deepEqual(await query(url, 'SELECT 1 AS n'), [{ n: 1 }])
    await killService(child)
    await start(dataDir)
  })

  test('in the same process: the second start is refused, and after a stop it is not', async () => {
    const dataDir = newDataDir()
    const first = await start(dataDir)
    await assert.rejects(start(dataDir), new RegExp(`another Mailwright \\(pid ${process.pid}\\)`))
    // The refused start opened and closed the lock's file, which must not have ended the lock.
    await assert.rejects(
      startInChild(dataDir, stay),
      new RegExp(`another Mailwright \\(pid ${process.pid}\\)`),
    )
    await first.stop()
    await start(dataDir)
  })
})

describe('a temporary Postgres', () => {
  test('is removed with its folder', async () => {
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('mailwright-'))
    const postgres = await startTemporaryPostgres({ settings: { max_connections: '33' } })
    const [row] = await query(
      postgres.url,
      "SELECT current_setting('fsync') f, current_setting('max_connections') m",
    )
    assert.deepEqual(row, { f: 'off', m: '33' })
    await postgres.stop()
    await assert.rejects(query(postgres.url, 'SELECT 1'), /ENOENT/)
    const added = readdirSync(tmpdir()).filter(
      (name) => name.startsWith('mailwright-') && !before.includes(name),
    )
    assert.deepEqual(added, [])
  })
})
