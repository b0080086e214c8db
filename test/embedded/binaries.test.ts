import assert from 'node:assert/strict'
import { cpSync, readdirSync, rmSync, statSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { findBinaries } from '../../src/embedded/binaries.ts'
import { chooseUser, ourselves, runAs } from '../../src/embedded/run-as.ts'

const root = process.getuid!() === 0
const asRoot = { skip: root ? false : 'needs root: nothing is closed to a user who runs Postgres itself' }

let base: string
/** A copy of the npm package that may be spoilt. */
let packageDir: string

before(async () => {
  base = await mkdtemp(join(tmpdir(), 'mw-'))
  await chmod(base, 0o711)
  packageDir = join(base, 'closed', 'package')
  const { binDir } = await findBinaries(ourselves(), { fallbackDir: '/nonexistent', notes: [] })
  cpSync(dirname(dirname(binDir)), packageDir, { recursive: true, verbatimSymlinks: true })
})
after(() => rm(base, { recursive: true, force: true }))
afterEach(() => chmod(join(base, 'closed'), 0o755))

test('as root, binaries that the user cannot reach are copied once, whatever the umask', asRoot, async () => {
  await chmod(join(base, 'closed'), 0o700)
  const user = await chooseUser('/nonexistent')
  const fallbackDir = join(base, 'moved')
  const umask = process.umask(0o077)
  try {
    const notes: string[] = []
    const options = { binDir: join(packageDir, 'native', 'bin'), fallbackDir, notes }
    const { binDir } = await findBinaries(user, options)
    assert.match(binDir, /\/moved\/postgres-\d+\.\d+.*\/bin$/)
    assert.match(
      notes.join(),
      new RegExp(`The user ${user.name} cannot reach .*, so Postgres runs from ${binDir}`),
    )
    assert.ok((await runAs(user, join(binDir, 'initdb'), ['--version'])).ok)
    const made = statSync(dirname(binDir)).ino
    await findBinaries(user, options)
    assert.equal(statSync(dirname(binDir)).ino, made)
    assert.equal(readdirSync(fallbackDir).length, 1)
  } finally {
    process.umask(umask)
  }
})

test('a package whose install script did not run gets its links', async () => {
  const lib = join(packageDir, 'native', 'lib')
  for (const entry of readdirSync(lib, { withFileTypes: true })) {
    if (entry.isSymbolicLink()) rmSync(join(lib, entry.name))
  }
  const binDir = join(packageDir, 'native', 'bin')
  assert.equal(
    (await runAs(ourselves(), join(binDir, 'postgres'), ['--version'])).ok,
    process.platform === 'darwin',
  )
  const found = await findBinaries(ourselves(), { binDir, fallbackDir: '/nonexistent', notes: [] })
  assert.equal(found.binDir, binDir)
})

test('a Postgres that does not run here is an error that names the way out', async () => {
  const missing = findBinaries(ourselves(), { binDir: join(base, 'bin'), fallbackDir: base, notes: [] })
  await assert.rejects(missing, /does not run here; set DATABASE_URL/)
})
