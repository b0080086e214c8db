import assert from 'node:assert/strict'
import { compactDecrypt, decodeProtectedHeader, exportJWK, generateKeyPair, type JWK } from 'jose'

export interface SealingPair {
  publicKey: JWK
  privateKey: JWK
  alg: 'ECDH-ES+A256KW' | 'RSA-OAEP-256'
}

/** A pair of the kind: a curve, or RSA with so many bits. */
export async function makeSealingPair(kind: string | number = 'P-256', kid?: string): Promise<SealingPair> {
  const alg = typeof kind === 'number' ? 'RSA-OAEP-256' : 'ECDH-ES+A256KW'
  const options = typeof kind === 'number' ? { modulusLength: kind } : { crv: kind }
  const pair = await generateKeyPair(alg, { ...options, extractable: true })
  const name = kid === undefined ? {} : { kid }
  return {
    publicKey: { ...(await exportJWK(pair.publicKey)), ...name },
    privateKey: { ...(await exportJWK(pair.privateKey)), ...name, alg },
    alg,
  }
}

export interface Payload {
  address: string
  password: string
  iat: number
}

/** What a sealed password says to the holder of the private key; checks the header on the way. */
export async function openSealed(jwe: string, { privateKey, publicKey, alg }: SealingPair): Promise<Payload> {
  const { epk: _, ...header } = decodeProtectedHeader(jwe)
  const { kid } = publicKey
  const expected = { alg, enc: 'A256GCM', typ: 'JOSE', cty: 'json', ...(kid !== undefined && { kid }) }
  assert.deepEqual(header, expected)
  const { plaintext } = await compactDecrypt(jwe, privateKey)
  const payload = JSON.parse(new TextDecoder().decode(plaintext))
  assert.deepEqual(Object.keys(payload), ['address', 'password', 'iat'])
  assert.ok(Math.abs(payload.iat - Date.now() / 1000) < 600) // seconds: a test of a thousand opens them at its end
  return payload
}
