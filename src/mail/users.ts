import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { RunAs } from '../embedded/run-as.ts'

const run = promisify(execFile)

/** The user of the operating system whom the mail belongs to; it owns nothing else. */
export const mailUser = 'vmail'

export async function findUser(name: string): Promise<RunAs | undefined> {
  const ask = (option: string) => run('id', [option, name]).then(({ stdout }) => Number(stdout))
  try {
    const [uid, gid] = await Promise.all([ask('-u'), ask('-g')])
    return { name, uid, gid }
  } catch {
    return undefined
  }
}

/** Made where it is missing: the processes that read one person's mail run as neither root nor another service. */
export async function ensureMailUser(say: (message: string) => void): Promise<RunAs> {
  const found = await findUser(mailUser)
  if (found) return found
  await run('useradd', [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir=/nonexistent',
    '--shell=/usr/sbin/nologin',
    mailUser,
  ])
  say(`Made the system user ${mailUser}, whom the mail belongs to.`)
  const made = await findUser(mailUser)
  if (!made) throw new Error(`The user ${mailUser} could not be made.`)
  return made
}

export async function requireUser(name: string, packages: string): Promise<RunAs> {
  const user = await findUser(name)
  if (user) return user
  throw new Error(`There is no user ${name}. Install the packages: apt-get install ${packages}`)
}
