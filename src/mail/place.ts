import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { makeReachableDir } from '../embedded/binaries.ts'
import { canEnter, type RunAs } from '../embedded/run-as.ts'

const fallbackDir = '/var/lib/mailwright'

/** The folder for the mail servers: in the data folder, or elsewhere where they cannot pass through to that. */
export async function findBase(
  dataDir: string,
  user: RunAs,
  say: (message: string) => void,
): Promise<string> {
  await mkdir(dataDir, { recursive: true })
  if (await canEnter(user, dataDir)) return join(dataDir, 'mail')
  await makeReachableDir(user, fallbackDir)
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  const base = join(fallbackDir, `mail-${name}`)
  say(`The mail servers cannot reach ${dataDir}, so their files and the mail are in ${base}.`)
  return base
}

/** Leaves where the service looks for them: address and key of Dovecot's administration interface, and the folder of all mail. */
export async function leaveDoveadmKey(dataDir: string, port: number, mailDir: string): Promise<string> {
  const key = randomBytes(24).toString('base64url')
  const { uid, gid } = await stat(dataDir)
  for (const [name, content] of [
    ['doveadm-url', `http://127.0.0.1:${port}`],
    ['doveadm-key', key],
    ['doveadm-mail-dir', mailDir],
  ] as const) {
    await leaveFile(join(dataDir, name), `${content}\n`, { uid, gid })
  }
  return key
}

/**
 * For the owner of the folder, since the service may run as another user than we do. We are root there, so a link
 * that somebody planted must not be followed: the file is always a new one.
 */
async function leaveFile(file: string, content: string, { uid, gid }: { uid: number; gid: number }) {
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  const handle = await open(draft, 'wx', 0o600)
  try {
    await handle.writeFile(content)
    await handle.chown(uid, gid)
  } finally {
    await handle.close()
  }
  await rename(draft, file)
}
