import assert from 'node:assert/strict'
import { appendFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'
import { type EmbeddedPostgres, startTemporaryPostgres } from '../src/embedded.ts'
import { newDataDir, query, start } from './support/embedded.ts'

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

  test('Postgres may keep as much as its file says, at first a quarter of the memory', async () => {
    const dataDir = newDataDir()
    const file = join(dataDir, 'postgres', 'postgresql.conf')
    const buffersOf = async (postgres: EmbeddedPostgres) => {
      const [row] = await query(
        postgres.url,
        "select setting::int / 128 as mb from pg_settings where name = 'shared_buffers'",
      )
      await postgres.stop()
      return row
    }
    const mb = Math.min(
      Math.max(Math.floor(Math.min(totalmem(), process.constrainedMemory() || totalmem()) / 2 ** 22), 128),
      2048,
    )
    assert.deepEqual(await buffersOf(await start(dataDir)), { mb })
    appendFileSync(file, 'shared_buffers = 64MB\n')
    assert.deepEqual(await buffersOf(await start(dataDir)), { mb: 64 })
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
})

describe('a temporary Postgres', () => {
  test('takes settings and is removed with its folder', async () => {
    const postgres = await startTemporaryPostgres({ settings: { max_connections: '33' } })
    const [row] = await query(
      postgres.url,
      "SELECT current_setting('fsync') AS fsync, current_setting('max_connections') AS most",
    )
    assert.deepEqual(row, { fsync: 'off', most: '33' })
    const folder = dirname(new URL(postgres.url).searchParams.get('host')!)
    assert.ok(existsSync(join(folder, 'postgres')))
    await postgres.stop()
    assert.equal(existsSync(folder), false)
  })
})
