import {
  argon2TagOctets,
  phcString,
  saltOctets,
  securePasswordMechanisms,
  type Verifier,
  type VerifierOptions,
} from './verifiers.ts'

const blank = (octets: number) => Buffer.alloc(octets).toString('base64')

/** For a request that is only tried: of the shape of real ones, but no hash was spent on them, and no password fits. */
export function blankVerifiers({ mechanisms, scramIterations }: VerifierOptions): Verifier[] {
  const texts = {
    'SCRAM-SHA-256': [scramIterations, blank(16), blank(32), blank(32)].join(','),
    'CRAM-MD5': '0'.repeat(64),
  }
  return [
    { mechanism: 'ARGON2ID', verifier: phcString(Buffer.alloc(saltOctets), Buffer.alloc(argon2TagOctets)) },
    ...securePasswordMechanisms
      .filter((mechanism) => mechanisms.includes(mechanism))
      .map((mechanism) => ({ mechanism, verifier: texts[mechanism] })),
  ]
}
