import { createHash } from 'node:crypto'

const blockOctets = 64 // RFC 2104 §2: B
const innerPad = 0x36
const outerPad = 0x5c

/**
 * The verifier of CRAM-MD5 (RFC 2195) as Dovecot stores it: the state of MD5 after the outer and after the inner
 * padded key of HMAC (RFC 2104 §4), in this order, in 64 hexadecimal digits. Whoever has it can log in with
 * CRAM-MD5, though not with another mechanism. See hmac_md5_get_cram_context in Dovecot's hmac-cram-md5.c.
 */
export function cramMd5Verifier(password: string): string {
  const key = paddedKey(Buffer.from(password))
  return Buffer.concat([stateAfter(key, outerPad), stateAfter(key, innerPad)]).toString('hex')
}

function paddedKey(key: Buffer): Buffer {
  const block = Buffer.alloc(blockOctets)
  const short = key.length > blockOctets ? createHash('md5').update(key).digest() : key
  short.copy(block)
  return block
}

function stateAfter(key: Buffer, pad: number): Buffer {
  const state = compress(Buffer.from(key.map((octet) => octet ^ pad)))
  const octets = Buffer.alloc(16)
  state.forEach((word, i) => {
    octets.writeUInt32LE(word, 4 * i)
  })
  return octets
}

type State = [a: number, b: number, c: number, d: number]

const initialState: State = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] // RFC 1321 §3.3
// RFC 1321 §3.4: T[i], the integer part of 4294967296 times abs(sin(i)), i in radians.
const sines = Array.from({ length: 64 }, (_, i) => Math.floor(2 ** 32 * Math.abs(Math.sin(i + 1))))

interface Round {
  mix: (b: number, c: number, d: number) => number
  /** Which word of the block the step takes. */
  word: (step: number) => number
  shifts: State
}

// RFC 1321 §3.4: F, G, H and I, and the order and the rotations of their sixteen steps.
const rounds: Round[] = [
  { mix: (b, c, d) => (b & c) | (~b & d), word: (i) => i, shifts: [7, 12, 17, 22] },
  { mix: (b, c, d) => (b & d) | (c & ~d), word: (i) => (5 * i + 1) % 16, shifts: [5, 9, 14, 20] },
  { mix: (b, c, d) => b ^ c ^ d, word: (i) => (3 * i + 5) % 16, shifts: [4, 11, 16, 23] },
  { mix: (b, c, d) => c ^ (b | ~d), word: (i) => (7 * i) % 16, shifts: [6, 10, 15, 21] },
]

/** The state of MD5 after one block. OpenSSL gives out digests only, which are made from a padded last block. */
function compress(block: Buffer): State {
  let [a, b, c, d] = initialState
  for (let i = 0; i < 64; i += 1) {
    const { mix, word, shifts } = rounds[i >> 4]!
    const sum = (a + mix(b, c, d) + block.readUInt32LE(4 * word(i)) + sines[i]!) | 0
    const shift = shifts[i % 4]!
    const next = b + ((sum << shift) | (sum >>> (32 - shift)))
    ;[a, b, c, d] = [d, next | 0, b, c]
  }
  const end = [a, b, c, d]
  return initialState.map((word, i) => (word + end[i]!) >>> 0) as State
}
