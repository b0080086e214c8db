import { open, readFile, stat } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { calculateJwkThumbprint, compactDecrypt, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import { commandLine } from './cli/command-line.ts'

const usage = `Opens the sealed passwords that the service has made: needs no service and no database.

  ${commandLine('unseal')} KEYFILE
        Reads answers of the service, or what is in their sealed_password, from standard input, in whatever number, and
        prints a line of JSON for each: address, password and the time it was sealed at. KEYFILE holds the private key as
        a JWK.
  ${commandLine('unseal')} --new KEYFILE
        Makes a pair: KEYFILE gets the private key, for you alone, and the public one, which is for seal_password_to, is
        printed.
`

/** A mistake of whoever typed the command. */
class UsageError extends Error {}

function readArguments(args: string[]) {
  try {
    const options = { new: { type: 'string' }, help: { type: 'boolean' } } as const
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
    return { ...values, files: positionals }
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

const algorithm = 'ECDH-ES+A256KW'

async function makePair(path: string): Promise<void> {
  const { privateKey } = await generateKeyPair(algorithm, { crv: 'P-256', extractable: true })
  const { kty, crv, x, y, d } = await exportJWK(privateKey)
  const shared = { kty, crv, x, y } as JWK
  const publicKey = { ...shared, kid: await calculateJwkThumbprint(shared), use: 'enc', alg: algorithm }
  const file = await open(path, 'wx', 0o600) // never in the place of a key that passwords are sealed to
  try {
    await file.writeFile(`${JSON.stringify({ ...publicKey, d })}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  process.stdout.write(`${JSON.stringify(publicKey)}\n`)
}

/** A compact JWE (RFC 7516 §7.1) wherever it stands; its first part is base64url of a text that begins with {". */
const compactJwe = /(?<![\w-])eyJ[\w-]+(?:\.[\w-]+){4}/g

const accepted = {
  keyManagementAlgorithms: [algorithm, 'RSA-OAEP-256'],
  contentEncryptionAlgorithms: ['A256GCM'],
}

/** What was sealed, or undefined where this key does not open it. */
async function unseal(jwe: string, jwk: JWK): Promise<object | undefined> {
  const { alg = jwk.kty === 'RSA' ? 'RSA-OAEP-256' : algorithm } = jwk
  const key = await importJWK(jwk, alg).catch(() => {
    throw new Error('The key file holds no private key that passwords are sealed to.')
  })
  const opened = await compactDecrypt(jwe, key, accepted).catch(() => undefined)
  return opened && JSON.parse(new TextDecoder().decode(opened.plaintext))
}

async function unsealAll(path: string): Promise<void> {
  const key = await readKey(path)
  const found = (await text(process.stdin)).match(compactJwe) ?? []
  if (found.length === 0) throw new Error('There is no sealed password in what was read.')
  let unopened = 0
  for (const jwe of found) {
    const payload = await unseal(jwe, key)
    // written anew, so that no character that a terminal obeys gets through
    if (payload) process.stdout.write(`${JSON.stringify(payload)}\n`)
    else unopened += 1
  }
  if (unopened > 0) throw new Error(`${unopened} of ${found.length} cannot be opened with this key.`)
}

async function readKey(path: string): Promise<JWK> {
  if ((await stat(path)).mode & 0o077)
    process.stderr.write(`Others of this machine can use ${path}. Run: chmod 600 ${path}\n`)
  const key = parseJson(await readFile(path, 'utf8'))
  if (typeof key === 'object' && key !== null && 'd' in key) return key as JWK
  throw new Error(`${path} holds no private key as a JWK (RFC 7517).`)
}

// The parser's own error quotes what it read, which here is a private key.
function parseJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

async function obey(args: string[]): Promise<void> {
  const { new: target, help, files } = readArguments(args)
  const [file] = files
  if (help) process.stdout.write(usage)
  else if (target !== undefined && files.length === 0) await makePair(target)
  else if (target === undefined && file !== undefined && files.length === 1) await unsealAll(file)
  else throw new UsageError('Name one key file.')
}

/** The command; sets the exit code. */
export async function unsealCommand(args: string[]): Promise<void> {
  await obey(args).catch((error: NodeJS.ErrnoException) => {
    const mistake = error instanceof UsageError
    const message =
      error.code === 'EEXIST' ? `${error.path} is there already; take another name.` : error.message
    process.stderr.write(mistake ? `${message}\n\n${usage}` : `${message}\n`)
    process.exitCode = mistake ? 2 : 1
  })
}

if (import.meta.main) await unsealCommand(process.argv.slice(2))
