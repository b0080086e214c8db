import { execFile } from 'node:child_process'
import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Program } from './child.ts'
import { type Values, writeFilled } from './templates.ts'

const names = [
  'main.cf',
  'master.cf',
  'pgsql-domain.cf',
  'pgsql-mailbox.cf',
  'pgsql-alias.cf',
  'pgsql-sender-login.cf',
  'pgsql-relay.cf',
  'pgsql-recipient.cf',
]

interface Place {
  deploy: URL
  etc: string
  gid: number
  /** Settings that an administrator adds. */
  local: string
}

/** Fills the templates, makes the queue's folders, and says how the master is run. */
export async function preparePostfix({ deploy, etc, gid, local }: Place, values: Values): Promise<Program> {
  for (const name of names) {
    await writeFilled(new URL(`postfix/${name}`, deploy), values, { file: join(etc, name), gid })
  }
  const added = await readFile(join(local, 'main.cf'), 'utf8').catch(() => '')
  await appendFile(join(etc, 'main.cf'), `\n# ${join(local, 'main.cf')}\n${added}`)
  await promisify(execFile)('postfix', ['-c', etc, 'check']).catch(({ stderr }: { stderr: string }) => {
    throw new Error(`Postfix does not take its configuration: ${stderr}`)
  })
  const { stdout } = await promisify(execFile)('postconf', ['-c', etc, '-h', 'daemon_directory'])
  // -s: in the foreground, as a child of ours
  return { file: join(stdout.trim(), 'master'), args: ['-c', etc, '-s'], env: { MAIL_CONFIG: etc } }
}

/** An inet service of master.cf. */
export function toListener(host: string | undefined, port: number): string {
  if (host === undefined) return String(port)
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
