import { createHash } from 'node:crypto'
import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rename,
  stat,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeReachableDir } from './binaries.ts'
import { canEnter, chooseUser, type RunAs } from './run-as.ts'

/** Where the embedded Postgres lives. */
export interface DataPlace {
  readonly dataDir: string
  readonly cluster: string
  readonly user: RunAs
}

/** Where things are that could not stay below the data folder. */
interface PlaceNote {
  data_dir?: string
  socket_dir?: string
  /** The data folder that has the socket folder; a copy of it must not take the socket away. */
  socket_of?: string
}

/** The data folder and the user, or a folder below `fallbackDir` where the user cannot reach the one asked for. */
export async function findPlace(
  asked: string,
  { fallbackDir, notes }: { fallbackDir: string; notes: string[] },
): Promise<DataPlace> {
  await makeDataDir(asked)
  const dataDir = await realpath(asked) // what the kernel calls the folder of a running Postgres
  const noted = (await readNote(dataDir)).data_dir
  if (noted) {
    notes.push(`The database of ${dataDir} is in ${noted}.`)
    return openPlace(noted)
  }
  const cluster = clusterIn(dataDir)
  const user = await chooseUser(cluster)
  if (await canEnter(user, dataDir)) return { dataDir, cluster, user }
  if (await exists(cluster)) {
    throw new Error(`The user ${user.name}, to whom the database in ${cluster} belongs, cannot reach it.`)
  }
  return moveOut(dataDir, user, { fallbackDir, notes })
}

async function openPlace(dataDir: string): Promise<DataPlace> {
  const cluster = clusterIn(dataDir)
  const user = await chooseUser(cluster)
  await makeDataDir(dataDir)
  await makeReachableDir(user, dataDir)
  return { dataDir, cluster, user }
}

async function moveOut(
  dataDir: string,
  user: RunAs,
  { fallbackDir, notes }: { fallbackDir: string; notes: string[] },
): Promise<DataPlace> {
  await makeReachableDir(user, fallbackDir)
  // One for each data folder, so that two checkouts do not share a database.
  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 12)
  const place = await openPlace(join(fallbackDir, `data-${name}`))
  await writeNote(dataDir, { data_dir: place.dataDir })
  notes.push(`The user ${user.name} cannot reach ${dataDir}, so the database is in ${place.dataDir}.`)
  return place
}

function clusterIn(dataDir: string): string {
  return join(dataDir, 'postgres')
}

/** 0711: Postgres and the mail servers pass through to their folders, and nobody lists it. */
async function makeDataDir(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true })
  const { mode, uid } = await stat(dataDir)
  const mine = uid === process.getuid!() || process.getuid!() === 0
  if ((mode & 0o7777) !== 0o711 && mine && (await holdsOnlyOurs(dataDir))) await chmod(dataDir, 0o711)
}

/** A folder that is used for other things too, such as /tmp, keeps its mode. */
async function holdsOnlyOurs(folder: string): Promise<boolean> {
  const ours = /^(postgres|mailwright\.|socket$|token-key)/
  return (await readdir(folder)).every((name) => ours.test(name))
}

export async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

async function readNote(dataDir: string): Promise<PlaceNote> {
  const note = await readFile(join(dataDir, 'postgres-place.json'), 'utf8').catch(() => '{}')
  return JSON.parse(note)
}

async function writeNote(dataDir: string, note: PlaceNote): Promise<void> {
  const file = join(dataDir, 'postgres-place.json')
  await writeFile(`${file}.draft`, `${JSON.stringify(note)}\n`, { mode: 0o600, flush: true })
  await rename(`${file}.draft`, file)
}

/** The folder of the socket: for its owner, and for the group that somebody may have given it. */
export async function makeSocketDir({ dataDir, user }: DataPlace): Promise<string> {
  const note = await readNote(dataDir)
  const noted = note.socket_of === dataDir ? note.socket_dir : undefined
  const usual = join(dataDir, 'socket')
  if (!noted && fits(usual)) return ownDir(usual, user, true)
  if (noted && fits(noted)) {
    // The system empties /run and the temporary folder; somebody else may have made the folder since.
    const kept = await ownDir(noted, user).catch(() => undefined)
    if (kept) return kept
  }
  const made = await mkdtemp(join(await findShortDir(), 'mailwright-'))
  await writeNote(dataDir, { socket_dir: made, socket_of: dataDir })
  return ownDir(made, user, true)
}

// unix(7): sun_path holds 108 bytes with the zero at its end; macOS has 104.
function fits(socketDir: string): boolean {
  const most = process.platform === 'darwin' ? 103 : 107
  return Buffer.byteLength(join(socketDir, '.s.PGSQL.5432')) <= most
}

async function findShortDir(): Promise<string> {
  for (const folder of process.getuid!() === 0 ? ['/run', tmpdir()] : [tmpdir()]) {
    if (fits(join(folder, 'mailwright-XXXXXX')) && (await exists(folder))) return folder
  }
  return '/tmp'
}

async function ownDir(folder: string, user: RunAs, mayTake = false): Promise<string> {
  const made = await mkdir(folder, { recursive: true })
  const found = await lstat(folder)
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder.`)
  if (found.uid !== user.uid) {
    if (!made && !mayTake) throw new Error(`${folder} belongs to another user than ${user.name}.`)
    await chown(folder, user.uid, user.gid)
  }
  await chmod(folder, 0o750)
  return folder
}

/** Where programs beside the service find what a running one keeps in its data folder. */
export async function locate(asked: string): Promise<{ dataDir: string; socketDir: string }> {
  const folder = await realpath(asked)
  const { data_dir: dataDir = folder } = await readNote(folder)
  const { socket_dir: socketDir = join(dataDir, 'socket') } = await readNote(dataDir)
  return { dataDir, socketDir }
}
