import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { nfcForm } from './password.ts'
import { argon2idParameters, argon2TagOctets, saltOctets } from './verifiers.ts'

const argon2Async = promisify(argon2)

interface Argon2id {
  memory: number
  passes: number
  parallelism: number
  nonce: Buffer
  tag: Buffer
}

/** Fits no password, and takes the work of one that was made today. */
const decoy: Argon2id = {
  ...argon2idParameters,
  nonce: randomBytes(saltOctets),
  tag: randomBytes(argon2TagOctets),
}

/** The PHC string format; `v=19` is version 1.3 (RFC 9106 §3.1). */
const phcString = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

/** One derivation whatever is stored: without a verifier, or with one of another kind, that of a decoy. */
export async function fitsArgon2id(password: string, verifier: string | null): Promise<boolean> {
  const stored = readPhcString(verifier ?? '')
  const { tag, ...parameters } = stored ?? decoy
  const derived = await argon2Async('argon2id', {
    ...parameters,
    message: nfcForm(password),
    tagLength: tag.length,
  })
  return timingSafeEqual(derived, tag) && stored !== undefined
}

function readPhcString(text: string): Argon2id | undefined {
  const [, memory, passes, parallelism, nonce, tag] = phcString.exec(text) ?? []
  if (nonce === undefined || tag === undefined) return undefined
  return {
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    nonce: Buffer.from(nonce, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
}
