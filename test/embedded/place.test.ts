import assert from 'node:assert/strict'
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { chmod, chown, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { asRoot, base, newDataDir, postmasterOf, query, start } from '../support/embedded.ts'

function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8)
}

describe('the data folder', () => {
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

test('a copied data folder does not take the socket of the original', async () => {
  const dataDir = join(base, 'y'.repeat(120))
  const original = await start(dataDir)
  await query(original.url, 'CREATE TABLE t ()')
  await original.stop()
  cpSync(dataDir, `${dataDir}-copy`, { recursive: true, preserveTimestamps: true })
  await chownAll(`${dataDir}-copy/postgres`, statSync(join(dataDir, 'postgres')))
  const [first, copy] = [await start(dataDir), await start(`${dataDir}-copy`)]
  await query(copy.url, 'DROP TABLE t')
  assert.deepEqual(await query(first.url, 'SELECT FROM t'), [])
  for (const postgres of [first, copy]) {
    await postgres.stop()
    await rm(postgres.place.socketDir, { recursive: true })
  }
})

async function chownAll(folder: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  await chown(folder, uid, gid)
  for (const name of await readdir(folder, { recursive: true })) await chown(join(folder, name), uid, gid)
}

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
