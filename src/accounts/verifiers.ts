import { argon2, createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { cramMd5Verifier } from './cram-md5.ts'
import { nfcForm, saslprepForm } from './password.ts'

/** The SASL mechanisms that work with the bare account name, the strongest first. */
export const securePasswordMechanisms = ['SCRAM-SHA-256', 'CRAM-MD5'] as const
export type Mechanism = (typeof securePasswordMechanisms)[number]

/** A list says which, not in what order: so that two orders are one list. */
export function inOrder(mechanisms: readonly Mechanism[]): Mechanism[] {
  return securePasswordMechanisms.filter((one) => mechanisms.includes(one))
}

export type VerifierKind = 'ARGON2ID' | Mechanism

/** Dovecot's names of what is taken from elsewhere besides Argon2id; app.is_foreign_scheme has the same. */
export const foreignSchemes = [
  'ARGON2I',
  'BLF-CRYPT',
  'SHA512-CRYPT',
  'SHA256-CRYPT',
  'PBKDF2',
  'SCRAM-SHA-256',
] as const
export type ForeignScheme = (typeof foreignSchemes)[number]

/** `verifier` is what Dovecot reads after its `{mechanism}` prefix, which is never stored. */
export interface Verifier {
  mechanism: VerifierKind
  /** Of a hash that was made elsewhere, in the place of the Argon2id one. */
  scheme?: ForeignScheme
  verifier: string
}

export interface VerifierOptions {
  mechanisms: readonly Mechanism[]
  scramIterations: number
}

/**
 * Of the sets that the OWASP Password Storage Cheat Sheet calls equivalent the one that Dovecot verifies fastest
 * (docs/login-capacity.md); `memory` is in KiB. mail.decoy has the same.
 */
export const argon2idParameters = { memory: 7168, passes: 5, parallelism: 1 } as const

export const saltOctets = 16 // RFC 9106 §3.1, and enough for SCRAM
export const argon2TagOctets = 32
const sha256Octets = 32

// Asynchronous, because each takes tens of milliseconds: libuv's threads do the work, the event loop goes on.
const argon2Async = promisify(argon2)
const pbkdf2Async = promisify(pbkdf2)

/**
 * The verifiers of a password that `parsePassword` or `generatePassword` gave, Argon2id first. They are derived one
 * after another, so that one password never holds more than one thread.
 */
export async function deriveVerifiers(password: string, options: VerifierOptions): Promise<Verifier[]> {
  const prepared = saslprepForm(password)
  const verifiers: Verifier[] = [{ mechanism: 'ARGON2ID', verifier: await argon2idVerifier(password) }]
  for (const mechanism of securePasswordMechanisms) {
    if (!options.mechanisms.includes(mechanism)) continue
    verifiers.push({ mechanism, verifier: await deriveFor[mechanism](prepared, options) })
  }
  return verifiers
}

const deriveFor: Record<Mechanism, (prepared: string, options: VerifierOptions) => string | Promise<string>> =
  {
    'SCRAM-SHA-256': (prepared, { scramIterations }) => scramSha256Verifier(prepared, scramIterations),
    'CRAM-MD5': (prepared) => cramMd5Verifier(prepared),
  }

async function argon2idVerifier(password: string): Promise<string> {
  const nonce = randomBytes(saltOctets)
  const { memory, passes, parallelism } = argon2idParameters
  const message = nfcForm(password)
  const tag = await argon2Async('argon2id', {
    message,
    nonce,
    memory,
    passes,
    parallelism,
    tagLength: argon2TagOctets,
  })
  return phcString(nonce, tag)
}

export function phcString(nonce: Buffer, tag: Buffer): string {
  const { memory, passes, parallelism } = argon2idParameters
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${unpadded(nonce)}$${unpadded(tag)}`
}

function unpadded(octets: Buffer): string {
  return octets.toString('base64').replace(/=+$/, '')
}

/** RFC 5802 §3 with SHA-256 (RFC 7677): `iterations,salt,StoredKey,ServerKey`. Exported for the RFC's own example. */
export async function scramSha256Verifier(
  prepared: string,
  iterations: number,
  salt: Buffer = randomBytes(saltOctets),
): Promise<string> {
  const saltedPassword = await pbkdf2Async(prepared, salt, iterations, sha256Octets, 'sha256')
  const storedKey = createHash('sha256').update(hmacSha256(saltedPassword, 'Client Key')).digest('base64')
  const serverKey = hmacSha256(saltedPassword, 'Server Key').toString('base64')
  return [iterations, salt.toString('base64'), storedKey, serverKey].join(',')
}

function hmacSha256(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
