import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import {
  eventually,
  lives,
  logged,
  newDataDir,
  pidFile,
  postmasterOf,
  query,
  start,
} from '../support/embedded.ts'

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
