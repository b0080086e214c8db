import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto'

/** What of a row is a secret, or would let somebody log in. */
export interface Secrets {
  password?: string
  password_hash?: string
}

// RFC 7516 §7.1 with "dir" (RFC 7518 §4.5): no key goes along, so that header and key are always the same.
const header = Buffer.from(JSON.stringify({ alg: 'dir', enc: 'A256GCM' })).toString('base64url')
const ivOctets = 12 // RFC 7518 §5.3

/** A compact JWE; by hand, because millions of rows are sealed while they come in. */
export function sealSecrets(secrets: Secrets, keys: readonly Uint8Array[]): string {
  const iv = nextIv()
  const cipher = createCipheriv('aes-256-gcm', keys[0]!, iv).setAAD(Buffer.from(header))
  const text = Buffer.concat([cipher.update(JSON.stringify(secrets)), cipher.final()])
  const parts = [iv, text, cipher.getAuthTag()].map((part) => part.toString('base64url'))
  return `${header}..${parts.join('.')}`
}

const ivs = Buffer.alloc(1024 * ivOctets)
let ivsLeft = 0

/** Drawn a thousand at a time: one by itself takes as long as the rest of a row's sealing. */
function nextIv(): Buffer {
  if (ivsLeft === 0) ivsLeft = randomFillSync(ivs).length / ivOctets
  ivsLeft -= 1
  return ivs.subarray(ivsLeft * ivOctets, (ivsLeft + 1) * ivOctets)
}

/** undefined where none of the keys made it: the key file is another one than it was. */
export function openSecrets(sealed: string, keys: readonly Uint8Array[]): Secrets | undefined {
  const [, , iv = '', text = '', tag = ''] = sealed.split('.')
  for (const key of keys) {
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(iv, 'base64url'))
      decipher.setAAD(Buffer.from(header)).setAuthTag(Buffer.from(tag, 'base64url'))
      const opened = Buffer.concat([decipher.update(Buffer.from(text, 'base64url')), decipher.final()])
      return JSON.parse(opened.toString())
    } catch {} // made with another key of the file
  }
  return undefined
}
