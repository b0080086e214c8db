import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startEmbeddedPostgres } from '../../src/embedded.ts'

/** A stopped cluster, and the postmaster.pid it had while it ran. */
let dataDir: string
let pidFile: string
let content: string
let owner: { uid: number; gid: number }

const start = () => startEmbeddedPostgres({ dataDir, log: () => undefined })

before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mw-'))
  pidFile = join(dataDir, 'postgres', 'postmaster.pid')
  const postgres = await start()
  content = await readFile(pidFile, 'utf8')
  owner = statSync(join(dataDir, 'postgres'))
  await postgres.stop()
})
after(() => rm(dataDir, { recursive: true, force: true }))

const spawned: ChildProcess[] = []
afterEach(() => {
  for (const child of spawned.splice(0)) child.kill('SIGKILL')
})

/** As the user of Postgres: only that user's processes stop Postgres from starting. */
function spawnAsOwner(file: string, args: string[], argv0 = file): ChildProcess {
  const { uid, gid } = owner
  const other = uid === process.getuid!() ? {} : { uid, gid }
  const child = spawn(file, args, { ...other, argv0, cwd: '/', stdio: ['ignore', 'pipe', 'ignore'] })
  spawned.push(child)
  return child
}

async function leaveBehind(text: string): Promise<void> {
  await writeFile(pidFile, text, { mode: 0o600 })
  await writeFile(join(dataDir, 'socket', '.s.PGSQL.5432.lock'), text, { mode: 0o600 })
}

async function startAndStop(): Promise<void> {
  const postgres = await start()
  await postgres.stop()
}

describe('a postmaster.pid that names', () => {
  test('a process that is gone does not stop the start', async () => {
    const child = spawnAsOwner('true', [])
    await once(child, 'exit')
    await leaveBehind(content.replace(/^\d+/, String(child.pid)))
    await startAndStop()
  })

  test('ourselves does not stop the start', async () => {
    await leaveBehind(content.replace(/^\d+/, String(process.pid)))
    await startAndStop()
  })

  test('a foreign process does not stop the start, and the process stays', async () => {
    const foreign = spawnAsOwner('sleep', ['60'])
    await leaveBehind(content.replace(/^\d+/, String(foreign.pid)))
    await startAndStop()
    assert.equal(foreign.exitCode ?? foreign.signalCode, null)
  })

  test('the postmaster of another folder does not stop the start, and the process stays', async () => {
    const other = spawnAsOwner('sleep', ['60'], 'postgres')
    await leaveBehind(content.replace(/^\d+/, String(other.pid)))
    await startAndStop()
    assert.equal(other.exitCode ?? other.signalCode, null)
  })

  test('a zombie does not stop the start', async () => {
    // The shell becomes a program that never waits for the child it started.
    const parent = spawnAsOwner('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 60'])
    const [line] = await once(parent.stdout!, 'data')
    const zombie = Number.parseInt(String(line), 10)
    await sleep(500)
    if (process.platform === 'linux') {
      assert.match(readFileSync(`/proc/${zombie}/stat`, 'utf8'), /\) Z /)
    }
    await leaveBehind(content.replace(/^\d+/, String(zombie)))
    await startAndStop()
  })
})

for (const [name, text] of [
  ['is empty', ''],
  ['is cut short', '123'],
  ['holds nonsense', 'nonsense\n'],
] as const) {
  test(`a postmaster.pid that ${name} does not stop the start`, async () => {
    await leaveBehind(text)
    await startAndStop()
  })
}

test('a link in the place of postmaster.pid is not written through', async () => {
  const victim = join(dataDir, 'victim')
  await writeFile(victim, `${process.pid}\n`)
  await rm(pidFile, { force: true })
  await symlink(victim, pidFile)
  await startAndStop()
  assert.equal(await readFile(victim, 'utf8'), `${process.pid}\n`)
  await rm(victim)
})
