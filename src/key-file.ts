import { randomUUID } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose'

/** A JWK set (RFC 7517 §5) of Ed25519 keys (RFC 8037 §2), the first private, and the id of the installation. */
export interface KeyFile {
  installation?: string
  keys: Ed25519Key[]
}

export interface Ed25519Key extends JWK {
  crv: 'Ed25519'
  x: string
}

export const algorithm = 'Ed25519' // RFC 9864 §2.2, in place of the deprecated EdDSA

// A group may read, as Kubernetes mounts secrets with an fsGroup; nobody else may anything.
const forbiddenModeBits = 0o027

/** Makes the file if it is missing; of several processes that make it at once one wins, and all use its file. */
export async function readOrCreateKeyFile(path: string): Promise<KeyFile> {
  const text = (await readText(path)) ?? (await createKeyFile(path))
  return parseKeyFile(text, path)
}

export function damaged(path: string, reason: string): Error {
  return new Error(
    `The key file ${path} cannot be used: ${reason}. Restore it from a backup; deleting it makes a new installation, which refuses the tokens of the old one.`,
  )
}

async function readText(path: string): Promise<string | undefined> {
  const file = await open(path, 'r').catch(ifCode('ENOENT'))
  if (!file) return undefined
  try {
    const { mode } = await file.stat()
    if (mode & forbiddenModeBits) {
      throw new Error(`The key file ${path} is open to other users of this machine. Run: chmod 600 ${path}`)
    }
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

// A link, unlike a rename, never replaces a file, and what it names is complete when it appears.
async function createKeyFile(path: string): Promise<string> {
  const folder = dirname(path)
  // Others may pass, not list: sockets that other programs use can lie in the same folder.
  await mkdir(folder, { recursive: true, mode: 0o711 })
  const draft = join(folder, `.${basename(path)}.${randomUUID()}`)
  const file = await open(draft, 'wx', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(await generateKeyFile(), null, 2)}\n`)
    await file.sync()
    await link(draft, path).catch(ifCode('EEXIST'))
  } finally {
    await file.close()
    await unlink(draft)
  }
  return (await readText(path)) ?? ''
}

function ifCode(code: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== code) throw error
  }
}

async function generateKeyFile(): Promise<KeyFile> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const jwk = await exportJWK(privateKey)
  const kid = await calculateJwkThumbprint(jwk)
  return { installation: randomUUID(), keys: [{ ...jwk, kid, alg: algorithm, use: 'sig' } as Ed25519Key] }
}

function parseKeyFile(text: string, path: string): KeyFile {
  const file = parseJson(text)
  if (file === undefined) throw damaged(path, 'it is not JSON')
  if (!isKeyFile(file)) throw damaged(path, 'it is not a JWK set of Ed25519 keys')
  const kids = file.keys.map(({ kid }) => kid).filter((kid) => kid !== undefined)
  if (new Set(kids).size < kids.length) throw damaged(path, 'two of its keys have the same kid')
  if (file.keys[0]?.d === undefined) throw damaged(path, 'its first key, which signs, has no private part')
  return file
}

// The parser's own error quotes what it read, which here is a private key.
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/ // RFC 9562 §4

function isKeyFile(value: unknown): value is KeyFile {
  if (typeof value !== 'object' || value === null) return false
  const { installation, keys } = value as Record<string, unknown>
  const named = installation === undefined || (typeof installation === 'string' && uuid.test(installation))
  return named && Array.isArray(keys) && keys.length > 0 && keys.every(isEd25519Key)
}

function isEd25519Key(value: unknown): value is Ed25519Key {
  if (typeof value !== 'object' || value === null) return false
  const { kty, crv, x, d, kid } = value as Record<string, unknown>
  const texts = [d, kid].every((member) => member === undefined || typeof member === 'string')
  return kty === 'OKP' && crv === 'Ed25519' && typeof x === 'string' && texts
}
