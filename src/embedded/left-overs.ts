import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { open, readFile, readlink, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { RunAs } from './run-as.ts'

interface Folders {
  readonly cluster: string
  readonly socketDir: string
  readonly user: RunAs
}

/**
 * Stops a postmaster that outlived its service, and takes away what would keep a new one from starting. Only to be
 * called by the holder of the data folder's lock. Returns the pid of what was stopped.
 */
export async function clearLeftOvers(folders: Folders): Promise<number | undefined> {
  const pidFile = join(folders.cluster, 'postmaster.pid')
  const content = await readFile(pidFile, 'utf8').catch(() => undefined)
  const pid = Number.parseInt(content ?? '', 10)
  const survives = pid > 0 && (await isPostmaster(pid, folders.cluster))
  if (survives) await stopPostmaster(pid, folders.cluster)
  await rm(join(folders.socketDir, '.s.PGSQL.5432.lock'), { force: true })
  const left = await readFile(pidFile, 'utf8').catch(() => undefined)
  if (left !== undefined) await disown(pidFile, left, folders.user)
  return survives ? pid : undefined
}

/** No process can have it: the largest pid is 2^22 on Linux (proc(5)) and 99998 on macOS. */
const nobodysPid = 2147483647

/**
 * Postgres gives up when the process of its postmaster.pid exists, if only as a zombie or as somebody else's
 * process. Removing the file would also remove what Postgres finds surviving backends of a killed postmaster by (the
 * shared memory in line 7), so the pid alone is changed and Postgres takes the rest down by itself.
 */
async function disown(pidFile: string, content: string, user: RunAs): Promise<void> {
  if (!/^\d+\n/.test(content)) {
    await rm(pidFile, { force: true }) // empty or cut short, as a crash of the machine leaves it
    return
  }
  // A new file: the folder is another user's, who could have put a link in the place of the old one.
  const draft = `${pidFile}.${randomUUID()}`
  const handle = await open(draft, 'wx', 0o600)
  await handle.writeFile(content.replace(/^\d+/, String(nobodysPid)))
  await handle.chown(user.uid, user.gid)
  await handle.close()
  await rename(draft, pidFile)
}

async function stopPostmaster(pid: number, cluster: string): Promise<void> {
  // https://www.postgresql.org/docs/current/server-shutdown.html: fast, then immediate shutdown
  for (const [signal, seconds] of [['SIGINT', 30] as const, ['SIGQUIT', 10] as const]) {
    if (!kill(pid, signal)) return
    for (const until = Date.now() + seconds * 1000; Date.now() < until; await sleep(50)) {
      if (!(await isPostmaster(pid, cluster))) return
    }
  }
  throw new Error(`The Postgres of an earlier start (pid ${pid}) does not end; end it and start again.`)
}

function kill(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Whether the process lives (a zombie does not) and is the postmaster of this folder. */
async function isPostmaster(pid: number, cluster: string): Promise<boolean> {
  const args = process.platform === 'linux' ? await readCommand(pid) : await askCommand(pid)
  if (!/^postgres|^postmaster/.test(basename(args[0] ?? ''))) return false
  // The folder may have been renamed since; but to read cwd takes rights that a container may lack.
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined)
  return cwd === cluster || args.includes(cluster)
}

async function readCommand(pid: number): Promise<string[]> {
  // proc_pid_cmdline(5): the file of a zombie is empty.
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
}

async function askCommand(pid: number): Promise<string[]> {
  const ps = await promisify(execFile)('ps', ['-ww', '-o', 'state=,command=', '-p', String(pid)]).catch(
    () => undefined,
  )
  const [, state = 'Z', command = ''] = /^(\S+)\s+(.*)/.exec(ps?.stdout.trim() ?? '') ?? []
  // Spaces in a path cannot be told from those between arguments: our own line is `…/postgres -D <folder> -c …`.
  const [, program = '', folder = ''] = /^(.*?) -D (.*?)(?: -c |$)/.exec(command) ?? []
  return state.startsWith('Z') ? [] : [program, folder]
}
