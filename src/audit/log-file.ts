import { constants } from 'node:fs'
import { type FileHandle, open, readFile, rename, writeFile } from 'node:fs/promises'
import type { LogPosition } from './follow.ts'

/** The lines that leave the machine, and beside them, in `<path>.position`, up to where the table is in them. */
export interface AuditLogFile {
  position: LogPosition | undefined
  /** Returns when the lines are on the disk. */
  append(lines: string): Promise<void>
  keepPosition(position: LogPosition): Promise<void>
  /** The path may name another file since: logrotate has moved this one away. */
  reopen(): Promise<void>
  close(): Promise<void>
}

/** Throws a sentence for whoever starts the service. */
export async function openAuditLogFile(path: string): Promise<AuditLogFile> {
  const positionPath = `${path}.position`
  let file = await openToAppend(path)
  let torn = false // by a write that failed in the middle of a line
  const keepPosition = async (position: LogPosition) => {
    await writeFile(`${positionPath}.new`, JSON.stringify(position), { mode: 0o600, flush: true })
    await rename(`${positionPath}.new`, positionPath)
  }
  const position = await readPosition(positionPath)
  if (position) await keepPosition(position).catch((error) => refuse(positionPath, error))
  return {
    position,
    keepPosition,
    async append(lines) {
      const text = torn ? `\n${lines}` : lines
      torn = true
      await file.appendFile(text)
      torn = false
      await file.datasync()
    },
    async reopen() {
      const old = file
      file = await openToAppend(path)
      torn = false
      await old.close()
    },
    close: () => file.close(),
  }
}

async function openToAppend(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_APPEND | constants.O_CREAT | constants.O_RDWR, 0o600).catch(
    (error) => refuse(path, error),
  )
  const { size } = await file.stat()
  if (size > 0 && !(await endsALine(file, size))) await file.appendFile('\n')
  return file
}

async function endsALine(file: FileHandle, size: number): Promise<boolean> {
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer.toString() === '\n'
}

/** A file that was never written has none: it begins with the first event that there is. */
async function readPosition(path: string): Promise<LogPosition | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') return refuse(path, error)
  })
  if (text === undefined) return undefined
  try {
    const position = JSON.parse(text) as LogPosition
    if (typeof position.floor === 'string' && typeof position.written === 'object') return position
  } catch {} // falls through to the one answer for whatever stands there instead
  return refuse(path, new Error('it does not hold a position; remove it to have all events written again'))
}

function refuse(path: string, cause: NodeJS.ErrnoException): never {
  throw new Error(`AUDIT_LOG_FILE: ${path} cannot be used: ${cause.message}.`, { cause })
}
