import { chmod, chown, mkdir, rm, stat } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { type RunAs, runAs } from '../embedded/run-as.ts'

export interface SocketFolder {
  folder: string
  close(): Promise<void>
}

const socketName = '.s.PGSQL.5432'

/**
 * A folder where the mail servers reach the embedded Postgres: its own, which their group is let into; or, where
 * something above it is closed to them (a home directory often is), one of ours, whose socket is passed on to it.
 */
export async function openToGroup(socketDir: string, user: RunAs, ours: string): Promise<SocketFolder> {
  await chown(socketDir, (await stat(socketDir)).uid, user.gid)
  await chmod(socketDir, 0o750)
  const reached = await runAs(user, '/bin/sh', ['-c', 'test -S "$1"', 'sh', join(socketDir, socketName)])
  if (reached.ok) return { folder: socketDir, close: async () => {} }
  return passOn(join(socketDir, socketName), user, ours)
}

async function passOn(target: string, { gid }: RunAs, folder: string): Promise<SocketFolder> {
  await mkdir(folder, { recursive: true })
  await chown(folder, 0, gid)
  await chmod(folder, 0o750)
  const path = join(folder, socketName)
  await rm(path, { force: true })
  const server = createServer((client) => {
    const postgres = connect(target)
    for (const [one, other] of [
      [client, postgres],
      [postgres, client],
    ] as const) {
      one.on('error', () => other.destroy())
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(path, resolve)
  })
  await chown(path, 0, gid)
  await chmod(path, 0o660)
  return {
    folder,
    async close() {
      server.close()
    },
  }
}
