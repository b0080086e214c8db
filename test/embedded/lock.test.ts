import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  killService,
  lives,
  logged,
  newDataDir,
  postmasterOf,
  query,
  start,
  startInChild,
  stay,
} from '../support/embedded.ts'

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
    const gone = once(child, 'exit') // until then it holds the lock
    child.kill('SIGKILL')
    process.kill(postmasterOf(dataDir), 'SIGKILL')
    await gone
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
