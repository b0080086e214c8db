import { problemAt } from '../problems.ts'
import type { ForeignScheme, Verifier } from './verifiers.ts'

/** RFC 5802 and crypt(3) write base64 in alphabets of their own. */
const crypt = '[./A-Za-z0-9]'
const base64 = '[A-Za-z0-9+/]'
const maxOctets = 512

interface Form {
  scheme: ForeignScheme | 'ARGON2ID'
  pattern: RegExp
  /** The numbers in it, in their order, with what each may be: one login must not keep the mail server busy for long. */
  bounds: [least: number, most: number][]
}

const argon2 = (kind: string) =>
  new RegExp(
    `^\\$${kind}\\$v=19\\$m=(\\d{1,9}),t=(\\d{1,9}),p=(\\d{1,9})\\$${base64}{11,86}\\$${base64}{22,86}$`,
  )
const argon2Bounds: Form['bounds'] = [
  [8, 65_536], // KiB
  [1, 10],
  [1, 4],
]
// Without a count it is 5,000 rounds, and crypt(3) raises less than 1,000.
const shaCrypt = (id: number, length: number) =>
  new RegExp(`^\\$${id}\\$(?:rounds=(\\d{1,9})\\$)?${crypt}{1,16}\\$${crypt}{${length}}$`)

const forms: Form[] = [
  { scheme: 'ARGON2ID', pattern: argon2('argon2id'), bounds: argon2Bounds },
  { scheme: 'ARGON2I', pattern: argon2('argon2i'), bounds: argon2Bounds },
  { scheme: 'BLF-CRYPT', pattern: new RegExp(`^\\$2[aby]\\$(\\d\\d)\\$${crypt}{53}$`), bounds: [[4, 12]] },
  { scheme: 'SHA512-CRYPT', pattern: shaCrypt(6, 86), bounds: [[1_000, 656_000]] },
  { scheme: 'SHA256-CRYPT', pattern: shaCrypt(5, 43), bounds: [[1_000, 656_000]] },
  {
    scheme: 'PBKDF2',
    pattern: new RegExp(`^\\$1\\$${crypt}{1,64}\\$(\\d{1,9})\\$[0-9a-f]{40}$`),
    bounds: [[1, 100_000]],
  },
  {
    scheme: 'SCRAM-SHA-256',
    pattern: new RegExp(`^(\\d{1,9}),${base64}{11,86}={0,2},${base64}{43}=,${base64}{43}=$`),
    bounds: [[4_096, 1_000_000]],
  },
]

/** Without a scheme before it a hash says itself what it is; `{CRYPT}` leaves it to that, too. */
const prefix = /^\{([A-Za-z0-9-]{1,20})\}/

/**
 * The verifiers that a hash in Dovecot's form gives. What is stored chooses no scheme by itself: it is one of these, in
 * exactly its form. Throws `password-hash-refused`, which repeats nothing of it.
 */
export function parsePasswordHash(text: string, pointer = '/password_hash'): Verifier[] {
  const [written = '', word] = prefix.exec(text) ?? []
  const named = word?.toUpperCase()
  const hash = text.slice(written.length)
  const form = text.length <= maxOctets && forms.find((one) => isOf(one, named, hash))
  if (!form) throw problemAt('password-hash-refused', pointer, notTaken)
  const numbers = form.pattern.exec(hash)!.slice(1)
  const isBounded = numbers.every((number, i) => isWithin(number, form.bounds[i]!))
  if (!isBounded || (form.bounds === argon2Bounds && !hasEnoughMemory(numbers))) {
    throw problemAt('password-hash-refused', pointer, tooMuch)
  }
  const { scheme } = form
  if (scheme === 'ARGON2ID') return [{ mechanism: 'ARGON2ID', verifier: hash }]
  const clear: Verifier = { mechanism: 'ARGON2ID', scheme, verifier: hash }
  return scheme === 'SCRAM-SHA-256' ? [clear, { mechanism: scheme, verifier: hash }] : [clear]
}

function isOf({ scheme, pattern }: Form, named: string | undefined, hash: string): boolean {
  if (named === undefined) return scheme !== 'PBKDF2' && scheme !== 'SCRAM-SHA-256' && pattern.test(hash)
  if (named === 'CRYPT') return scheme.endsWith('-CRYPT') && pattern.test(hash)
  return named === scheme && pattern.test(hash)
}

/** 8 KiB for each lane (RFC 9106 §3.1); nobody can verify it otherwise. */
function hasEnoughMemory([memory, , lanes]: string[]): boolean {
  return Number(memory) >= 8 * Number(lanes)
}

function isWithin(number: string | undefined, [least, most]: [number, number]): boolean {
  return number === undefined || (Number(number) >= least && Number(number) <= most)
}

const notTaken =
  'It is none of these, in the form that Dovecot stores: {ARGON2ID}, {ARGON2I}, {BLF-CRYPT}, {SHA512-CRYPT}, {SHA256-CRYPT}, {PBKDF2}, {SCRAM-SHA-256}, or by itself $argon2id$, $argon2i$, $2y$, $6$, $5$.'
const tooMuch =
  'A login with it would cost too much, or too little to be safe: bcrypt 4 to 12; SHA-crypt 1,000 to 656,000 rounds; PBKDF2 up to 100,000; SCRAM 4,096 to 1,000,000; Argon2 up to m=65536, t=10, p=4.'
