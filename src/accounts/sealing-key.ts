import { createPublicKey, type KeyObject } from 'node:crypto'
import type { JWK } from 'jose'
import { problemAt } from '../problems.ts'

/** The key agreement and key wrapping that the key is for; RFC 7518 §4.6, §4.3. */
export type SealingAlgorithm = 'ECDH-ES+A256KW' | 'RSA-OAEP-256'

/** A public key that a new password is encrypted to, so that only the holder of the private one reads it. */
export interface SealingKey {
  key: KeyObject
  alg: SealingAlgorithm
  /** Repeated in the JWE, so that its reader finds the key. */
  kid?: string
}

type Members = Record<string, unknown>

/** RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2 has the same `d`. */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

interface Kind {
  alg: SealingAlgorithm
  /** What makes the key; everything else in the JWK is dropped before it is imported. */
  members: string[]
  /** RFC 7517 §4.3: one of these, where it says for what the key is. */
  operations: string[]
}

const agreement: Omit<Kind, 'members'> = { alg: 'ECDH-ES+A256KW', operations: ['deriveKey', 'deriveBits'] }
const ec: Kind = { ...agreement, members: ['kty', 'crv', 'x', 'y'] }
const okp: Kind = { ...agreement, members: ['kty', 'crv', 'x'] }
const rsa: Kind = { alg: 'RSA-OAEP-256', operations: ['wrapKey', 'encrypt'], members: ['kty', 'n', 'e'] }

const minModulusBits = 2048 // RFC 7518 §4.3
const maxModulusBits = 8192 // what is longer costs time and buys nothing
const minExponent = 65537n // NIST SP 800-56B Rev. 2 §6.2
const maxKidCharacters = 255

/** Judges a JWK (RFC 7517). What it throws repeats nothing of the key, which may be a private one. */
export function parseSealingKey(jwk: Members, pointer = '/seal_password_to'): SealingKey {
  if (privateMembers.some((member) => jwk[member] !== undefined)) {
    const detail =
      'This is a private or secret key, which must never leave its holder. Treat it as disclosed: make a new pair, and send the public key only.'
    throw problemAt('sealing-key-private', pointer, detail)
  }
  const kind = kindOf(jwk)
  const fault = kind ? faultOfUse(jwk, kind) : kinds
  const key = kind && importKey(jwk, kind)
  if (fault !== undefined) throw unsuitable(fault, pointer)
  if (!kind || !key) throw unsuitable('Its members do not make a key.', pointer)
  if (kind === rsa && !isStrong(key)) {
    const detail = `An RSA key has ${minModulusBits} to ${maxModulusBits} bits, and the exponent ${minExponent} or a larger one.`
    throw unsuitable(detail, pointer)
  }
  return { key, alg: kind.alg, ...(typeof jwk.kid === 'string' && { kid: jwk.kid }) }
}

export function unsuitable(detail: string, pointer = '/seal_password_to') {
  return problemAt('sealing-key-unsuitable', pointer, detail)
}

const kinds =
  'Send a public key of the kind EC (P-256, P-384 or P-521), OKP (X25519) or RSA (2048 bits or more).'

function kindOf({ kty, crv }: Members): Kind | undefined {
  if (kty === 'EC' && ['P-256', 'P-384', 'P-521'].includes(String(crv))) return ec
  if (kty === 'OKP' && crv === 'X25519') return okp
  return kty === 'RSA' ? rsa : undefined
}

function faultOfUse({ use, alg, key_ops, kid }: Members, kind: Kind): string | undefined {
  if (use !== undefined && use !== 'enc') return 'Its `use` says that it is not for encryption.'
  if (alg !== undefined && alg !== kind.alg) return `Its \`alg\` is not ${kind.alg}, the one for its kind.`
  if (key_ops !== undefined && !allows(key_ops, kind)) return 'Its `key_ops` do not allow encryption to it.'
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > maxKidCharacters))
    return `Its \`kid\` is a text of at most ${maxKidCharacters} characters.`
  return undefined
}

// Web Cryptography §23.4.2 has no usage for the public half of an agreement, so browsers export an empty list.
function allows(operations: unknown, kind: Kind): boolean {
  if (!Array.isArray(operations)) return false
  if (operations.length === 0) return kind !== rsa
  return kind.operations.some((operation) => operations.includes(operation))
}

/** undefined where the members make no key, such as a point that is not on its curve. */
function importKey(jwk: Members, { members }: Kind): KeyObject | undefined {
  const key = Object.fromEntries(members.map((member) => [member, jwk[member]])) as JWK
  try {
    return createPublicKey({ key, format: 'jwk' })
  } catch {
    return undefined // the library's words could hold a piece of the key
  }
}

function isStrong({ asymmetricKeyDetails: { modulusLength = 0, publicExponent = 0n } = {} }: KeyObject) {
  return modulusLength >= minModulusBits && modulusLength <= maxModulusBits && publicExponent >= minExponent
}
