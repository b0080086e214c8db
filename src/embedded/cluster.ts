import { randomBytes } from 'node:crypto'
import { appendFile, chown, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { type DataPlace, exists } from './place.ts'
import { runAs } from './run-as.ts'

/** Not `postgres`, which every scanner tries first. */
export const superuser = 'mailwright_owner'

/** Makes the cluster unless there is one, and returns the superuser's password. */
export async function ensureCluster(place: DataPlace, binaries: Binaries, durable: boolean): Promise<string> {
  const made = await exists(place.cluster)
  if (made) await checkMajor(place.cluster, binaries.major)
  const password = await ensurePassword(join(place.dataDir, 'postgres-password'), made)
  if (!made) await initialise(place, binaries, { password, durable })
  return password
}

async function checkMajor(cluster: string, major: number): Promise<void> {
  const version = (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim()
  if (version === String(major)) return
  throw new Error(
    `The database in ${cluster} was made by PostgreSQL ${version}, and this is PostgreSQL ${major}: ` +
      'carry it over with pg_dump or pg_upgrade, or set DATABASE_URL to a server that can read it.',
  )
}

/** Written before the cluster is made, so that there is never a cluster whose password is unknown. */
async function ensurePassword(file: string, needed: boolean): Promise<string> {
  const known = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    if (needed) throw new Error(`The password of the embedded Postgres is missing: put ${file} back.`)
    return ''
  })
  if (known.trim()) return known.trim()
  const password = randomBytes(24).toString('base64url')
  await writeFile(`${file}.draft`, `${password}\n`, { mode: 0o600, flush: true })
  await rename(`${file}.draft`, file)
  return password
}

/** In a folder beside, renamed when complete: an interrupted initdb leaves nothing that looks like a cluster. */
async function initialise(
  place: DataPlace,
  binaries: Binaries,
  { password, durable }: { password: string; durable: boolean },
): Promise<void> {
  await removeDrafts(place.dataDir)
  const draft = await mkdtemp(join(place.dataDir, 'postgres-draft-'))
  const pwfile = join(draft, 'password')
  await writeFile(pwfile, `${password}\n`, { mode: 0o600, flag: 'wx' })
  for (const path of [pwfile, draft]) await chown(path, place.user.uid, place.user.gid)
  const cluster = join(draft, 'cluster')
  const args = ['-D', cluster, '-U', superuser, `--pwfile=${pwfile}`, ...initdbOptions(binaries.major)]
  if (!durable) args.push('--no-sync')
  const ran = await runAs(place.user, join(binaries.binDir, 'initdb'), args)
  if (!ran.ok) {
    await rm(draft, { recursive: true, force: true })
    throw new Error(`Postgres could not make its database in ${place.dataDir}: ${lastLines(ran.output)}`)
  }
  await appendFile(join(cluster, 'postgresql.conf'), memorySettings(), { flush: durable })
  await rename(cluster, place.cluster)
  await syncDir(place.dataDir)
  await rm(draft, { recursive: true, force: true })
}

function initdbOptions(major: number): string[] {
  // Sorted by bytes whatever the machine's language, and yet with Unicode's upper and lower case.
  const locale =
    major < 17
      ? ['--locale=C.UTF-8']
      : ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  return ['--encoding=UTF8', ...locale, '--auth=scram-sha-256', '--data-checksums']
}

const megabyte = 1024 ** 2

/**
 * Postgres's own default is 128 MB, of which a million mailboxes are fifteen times as much (docs/scaling.md). It takes
 * memory only for what it has read. Written once: who runs it may change it there.
 */
function memorySettings(): string {
  const memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
  const megabytes = Math.min(Math.floor(memory / 4 / megabyte), 2048)
  if (megabytes <= 128) return '' // initdb has tried what the machine can bear
  return `
# A quarter of the memory of the machine (PostgreSQL, "Resource Consumption"), at most what a million mailboxes fill.
shared_buffers = ${megabytes}MB
`
}

async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith('postgres-draft-')) continue
    // An initdb whose service was killed may still be writing; what is left is removed by a later start.
    await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 3 }).catch(() => undefined)
  }
}

async function syncDir(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync()
  await handle.close()
}

export function lastLines(text: string): string {
  return text.trim().split('\n').slice(-10).join('\n')
}
