import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Program } from './child.ts'
import { type Values, writeFilled } from './templates.ts'

export interface Dovecot {
  program: Program
  /** Fills the templates; a running Dovecot takes them at SIGHUP. */
  write(values: Values): Promise<void>
}

interface Place {
  /** The program. */
  file: string
  deploy: URL
  etc: string
  /** Dovecot's own user reads what its dictionary is told. */
  gid: number
}

/** Dovecot with the configuration of its version: that of 2.4 is another language. */
export async function findDovecot({ file, deploy, etc, gid }: Place): Promise<Dovecot> {
  const version = await readVersion(file)
  const templates = version >= '2.4' ? templatesOf24 : templatesOf23
  const conf = join(etc, 'dovecot.conf')
  return {
    program: { file, args: ['-F', '-c', conf] },
    async write(values) {
      for (const name of templates.names) {
        await writeFilled(new URL(`${templates.folder}/${name}`, deploy), values, {
          file: join(etc, name),
          gid,
        })
      }
    },
  }
}

const templatesOf23 = {
  folder: 'dovecot-2.3',
  names: ['dovecot.conf', 'dovecot-sql.conf.ext', 'dict-usage.conf.ext', 'dict-last-login.conf.ext'],
}
const templatesOf24 = { folder: 'dovecot-2.4', names: ['dovecot.conf'] }

/** The first two numbers. */
async function readVersion(file: string): Promise<string> {
  const { stdout } = await promisify(execFile)(file, ['--version']).catch((cause) => {
    throw new Error('Dovecot is not installed.', { cause })
  })
  const version = /^(2\.[34])\./.exec(stdout)?.[1]
  if (version === undefined) throw new Error(`This is Dovecot ${stdout.trim()}; 2.3 or 2.4 is needed.`)
  return version
}
