import { createHash, randomBytes } from 'node:crypto'
import { chown, mkdir, stat, writeFile } from 'node:fs/promises'
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

/** Leaves address and key of Dovecot's administration interface where the service looks for them. */
export async function leaveDoveadmKey(dataDir: string, port: number): Promise<string> {
  const key = randomBytes(24).toString('base64url')
  const { uid, gid } = await stat(dataDir)
  for (const [name, content] of [
    ['doveadm-url', `http://127.0.0.1:${port}`],
    ['doveadm-key', key],
  ] as const) {
    const file = join(dataDir, name)
    await writeFile(file, `${content}\n`, { mode: 0o600 })
    await chown(file, uid, gid) // the service may run as another user than we do
  }
  return key
}
