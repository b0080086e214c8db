import { CompactEncrypt } from 'jose'
import type { NewPassword } from './new-password.ts'
import { type SealingKey, unsuitable } from './sealing-key.ts'

/** The new password for the eyes of one reader, where the request asked for that. */
export interface Sealed {
  sealed_password?: string
}

/** Before anything is written: a key that cannot be used leaves nothing behind. */
export async function sealFor(password: NewPassword | 'none' | undefined, address: string): Promise<Sealed> {
  if (password === 'none' || !password?.sealTo) return {}
  const iat = Math.floor(Date.now() / 1000)
  const payload = JSON.stringify({ address, password: password.text, iat })
  return { sealed_password: await encrypt(payload, password.sealTo) }
}

/** Only what `sealFor` gave, out of something that has more. */
export function sealedOf({ sealed_password }: Sealed): Sealed {
  return sealed_password === undefined ? {} : { sealed_password }
}

// RFC 7516 §7.1, §4.1.11 and §4.1.12
async function encrypt(payload: string, { key, alg, kid }: SealingKey): Promise<string> {
  const header = { alg, enc: 'A256GCM', typ: 'JOSE', cty: 'json', ...(kid !== undefined && { kid }) }
  try {
    return await new CompactEncrypt(new TextEncoder().encode(payload)).setProtectedHeader(header).encrypt(key)
  } catch {
    throw unsuitable('Nothing can be encrypted to this key.') // such as a point of small order (RFC 7748 §6.1)
  }
}
