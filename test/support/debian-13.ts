import { execFileSync } from 'node:child_process'
import { access, chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const packages = 'dovecot-core,dovecot-pop3d,dovecot-imapd,dovecot-lmtpd,dovecot-pgsql'

// In a mount namespace of its own the tree's /usr stands for ours. All other folders, users and processes are ours, so
// that sockets, configuration and mail are where they are for a Dovecot of this system, and so are signals.
const program = `#!/bin/sh
exec unshare --mount sh -c 'mount --bind "$0/usr" /usr && exec /usr/sbin/dovecot "$@"' "$(dirname -- "$0")" "$@"
`

/**
 * The program of Dovecot 2.4 from a tree of Debian 13. Made by debootstrap at the first time, from the mirror that apt
 * uses here, and kept in MAIL_TEST_24_ROOT, else in the folder for temporary files; without the tree it is made anew.
 */
export async function findDovecot24(): Promise<string> {
  const root = process.env.MAIL_TEST_24_ROOT || join(tmpdir(), 'mailwright-debian-13')
  const file = join(root, 'dovecot')
  const exists = await access(file).then(
    () => true,
    () => false,
  )
  if (!exists) await makeTree(root)
  const version = execFileSync(file, ['--version'], { encoding: 'utf8' })
  if (!version.startsWith('2.4.')) throw new Error(`${file} is Dovecot ${version}, not 2.4`)
  return file
}

async function makeTree(root: string): Promise<void> {
  const draft = await mkdtemp(join(dirname(root), 'mailwright-debian-13-draft-'))
  try {
    const args = ['--variant=minbase', `--include=${packages}`, 'trixie', draft, findMirror()]
    execFileSync('debootstrap', args, { stdio: ['ignore', 'pipe', 'pipe'] })
    await writeFile(join(draft, 'dovecot'), program)
    await chmod(join(draft, 'dovecot'), 0o755)
    await rename(draft, root)
  } catch (cause) {
    await rm(draft, { recursive: true, force: true })
    throw new Error(`The Debian 13 tree for Dovecot 2.4 cannot be made: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function findMirror(): string {
  const args = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages', 'Label: Debian']
  return execFileSync('apt-get', args, { encoding: 'utf8' }).split('\n')[0] ?? ''
}
