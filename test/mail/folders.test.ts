import assert from 'node:assert/strict'
import { chown, lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { makeFolders } from '../../src/mail/folders.ts'
import { leaveDoveadmKey } from '../../src/mail/place.ts'

const skip = process.getuid?.() !== 0 && 'only root gives files away'
const stranger = { name: 'nobody', uid: 65534, gid: 65534 }

async function folderOf(t: TestContext, { uid, gid }: typeof stranger): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  await chown(folder, uid, gid)
  return folder
}

test('the key of the administration interface is for the owner of the data folder alone', {
  skip,
}, async (t) => {
  const dataDir = await folderOf(t, stranger)
  const key = await leaveDoveadmKey(dataDir, 2780, '/srv/mail')
  assert.equal(await readFile(join(dataDir, 'doveadm-key'), 'utf8'), `${key}\n`)
  const { mode, uid } = await lstat(join(dataDir, 'doveadm-key'))
  assert.deepEqual([mode & 0o777, uid], [0o600, stranger.uid])
})

test('a link that the owner of the data folder planted is not written through', { skip }, async (t) => {
  const dataDir = await folderOf(t, stranger)
  const precious = join(await folderOf(t, { ...stranger, uid: 0, gid: 0 }), 'precious')
  await writeFile(precious, 'untouched')
  for (const name of ['doveadm-key', 'doveadm-url']) await symlink(precious, join(dataDir, name))
  await leaveDoveadmKey(dataDir, 2780, '/srv/mail')
  assert.equal(await readFile(precious, 'utf8'), 'untouched')
  assert.equal((await lstat(precious)).uid, 0)
})

test('a folder of somebody else is not taken for the mail servers', { skip }, async (t) => {
  const dataDir = await folderOf(t, stranger)
  const base = join(dataDir, 'mail')
  await mkdir(base)
  await chown(base, stranger.uid, stranger.gid)
  await assert.rejects(makeFolders(base, { postfix: stranger, mail: stranger }), /not a folder of root/)
})
