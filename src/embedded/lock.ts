import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export interface Lock {
  release(): void
}

/**
 * Keeps a second Mailwright off the data folder, for as long as this process lives.
 *
 * A file with a process id can outlive its writer and must then be judged and replaced, which two starts may do at
 * once. A lock of the kernel ends with its process, whatever ends that, and is seen across containers that share
 * the folder. SQLite's is the only one that Node can take without native code: an empty database, held exclusively.
 */
export function lockDataDir(dataDir: string): Lock {
  const db = openLockFile(join(dataDir, 'mailwright.lock'))
  const pidFile = join(dataDir, 'mailwright.pid')
  try {
    db.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    db.close()
    if ((error as { errcode?: number }).errcode !== sqliteBusy) throw error
    throw new Error(`another Mailwright (pid ${readPid(pidFile)}) is using this data folder: ${dataDir}`)
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 })
  return {
    release() {
      if (!db.isOpen) return
      rmSync(pidFile, { force: true })
      db.close()
    },
  }
}

const sqliteBusy = 5 // https://www.sqlite.org/rescode.html#busy

function openLockFile(path: string): DatabaseSync {
  try {
    // Closed to others, who could hold it otherwise. Only ever made, never opened here: closing any other
    // descriptor of a file ends this process's locks on it (fcntl(2), "Record locks are … released").
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return new DatabaseSync(path)
}

function readPid(pidFile: string): string {
  try {
    return /^\d+/.exec(readFileSync(pidFile, 'utf8'))?.[0] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}
