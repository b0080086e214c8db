import { chmod, chown, lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunAs } from '../embedded/run-as.ts'

export interface Folders {
  readonly base: string
  /** Configuration, with passwords. */
  readonly etc: string
  /** Dovecot's own sockets. */
  readonly run: string
  readonly state: string
  /** The sockets that Postfix finds Dovecot by. */
  readonly sockets: string
  readonly spool: string
  readonly postfixData: string
  readonly log: string
  /** The mailboxes. */
  readonly mail: string
  /** Settings that an administrator adds. */
  readonly local: string
}

export interface Owners {
  postfix: RunAs
  mail: RunAs
}

const root = { uid: 0, gid: 0 }

/** Makes everything that the mail servers keep, below one folder that they can pass through and nobody lists. */
export async function makeFolders(base: string, { postfix, mail }: Owners): Promise<Folders> {
  await assertOurs(base)
  await makeFolder(base, 0o711, root)
  const make = async (name: string, mode: number, { uid, gid }: { uid: number; gid: number }) => {
    const folder = join(base, name)
    await makeFolder(folder, mode, { uid, gid })
    return folder
  }
  return {
    base,
    etc: await make('etc', 0o711, root),
    run: await make('run', 0o755, root),
    state: await make('state', 0o755, root),
    sockets: await make('sockets', 0o750, { uid: 0, gid: postfix.gid }),
    spool: await make('spool', 0o755, root),
    postfixData: await make('postfix', 0o700, { uid: postfix.uid, gid: 0 }),
    log: await make('log', 0o711, root),
    mail: await make('mail', 0o700, mail),
    local: await make('local', 0o700, root),
  }
}

/** Whoever owns the folder could plant links in it, for root to write through. */
async function assertOurs(base: string): Promise<void> {
  const found = await lstat(base).catch(() => undefined)
  if (found === undefined || (found.isDirectory() && found.uid === 0)) return
  throw new Error(
    `${base} is not a folder of root: move it away, or set MAILWRIGHT_DATA_DIR to another folder.`,
  )
}

async function makeFolder(folder: string, mode: number, { uid, gid }: { uid: number; gid: number }) {
  await mkdir(folder, { recursive: true })
  await chown(folder, uid, gid)
  await chmod(folder, mode)
}
