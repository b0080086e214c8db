import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { promisify } from 'node:util'

/** The user that Postgres runs as. */
export interface RunAs {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** Postgres refuses to run as root; the first of these that exists takes its place. */
const usersWithoutRights = ['mailwright', 'postgres', 'nobody']

/** We ourselves; or, when we are root, the owner of the cluster or a user without rights. */
export async function chooseUser(cluster: string): Promise<RunAs> {
  const owner = await stat(cluster).catch(() => undefined)
  const uid = process.getuid!()
  if (owner && owner.uid !== uid && uid !== 0) {
    throw new Error(
      `The database in ${cluster} belongs to the user ${await userName(owner.uid)}: ` +
        'start Mailwright as root or as that user, or set MAILWRIGHT_DATA_DIR to another folder.',
    )
  }
  if (owner?.uid === 0) {
    throw new Error(
      `The database in ${cluster} belongs to root, and Postgres does not run as root: chown it.`,
    )
  }
  if (uid !== 0) return { name: await userName(uid), uid, gid: process.getgid!() }
  if (owner) return { name: await userName(owner.uid), uid: owner.uid, gid: owner.gid }
  return findUserWithoutRights()
}

async function findUserWithoutRights(): Promise<RunAs> {
  for (const name of usersWithoutRights) {
    const [uid, gid] = await Promise.all([askId('-u', name), askId('-g', name)])
    if (uid && gid && uid !== '0') return { name, uid: Number(uid), gid: Number(gid) }
  }
  throw new Error(
    `Postgres does not run as root, and there is no user ${usersWithoutRights.join(', ')}: ` +
      'make a user mailwright, or set DATABASE_URL.',
  )
}

async function userName(uid: number): Promise<string> {
  if (uid === process.getuid!()) {
    try {
      return userInfo().username
    } catch {
      return String(uid) // a container may run under a uid that has no entry
    }
  }
  return (await askId('-un', String(uid))) ?? String(uid)
}

// id(1) asks every source of users, on macOS too; /etc/passwd alone would miss some.
async function askId(option: string, user: string): Promise<string | undefined> {
  const answer = await promisify(execFile)('id', [option, user]).catch(() => undefined)
  return answer?.stdout.trim()
}

/** Nothing of our own environment is passed on: PGPORT, PGDATA and the like would change what Postgres does. */
export function spawnAs(user: RunAs, file: string, args: string[], options: SpawnOptions): ChildProcess {
  const other = user.uid === process.getuid!() ? {} : { uid: user.uid, gid: user.gid }
  const env = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }
  // The folder we are in may be closed to that user.
  return spawn(file, args, { ...options, ...other, env, cwd: '/' })
}

export interface Ran {
  readonly ok: boolean
  readonly output: string
}

/** Runs a program to its end; never rejects. */
export function runAs(user: RunAs, file: string, args: string[]): Promise<Ran> {
  const child = spawnAs(user, file, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk
  }
  child.stdout!.on('data', collect)
  child.stderr!.on('data', collect)
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ ok: false, output: error.message }))
    child.once('close', (code) => resolve({ ok: code === 0, output: output.trim() }))
  })
}

/** Tried, not computed: access lists and mount options count as well as mode bits. */
export async function canEnter(user: RunAs, folder: string): Promise<boolean> {
  return (await runAs(user, '/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder])).ok
}

export function ourselves(): RunAs {
  return { name: '', uid: process.getuid!(), gid: process.getgid!() }
}
