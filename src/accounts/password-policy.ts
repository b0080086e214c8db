import { type DomainName, unicodeName } from '../domains/name.ts'
import { problemAt } from '../problems.ts'
import { loadCommonPasswords } from './common-passwords.ts'
import { estimate, type Guess } from './guessable.ts'
import { lengthOf, saslprepForm } from './password.ts'

/** What a password that somebody chose is held against. */
export interface PasswordPolicy {
  minLength: number
  /** Whose it may become, as far as they are known. */
  people: readonly Person[]
}

export interface Person {
  name: string
  domain?: DomainName | null | undefined
  display_name?: string | null | undefined
}

const minWordCharacters = 3

/** What is known of them, the longest first. */
export function personalWords(...people: Person[]): string[] {
  const words = new Set(people.flatMap(textsOf).flatMap((text) => [text, ...text.split(notInWords)]))
  return [...words]
    .filter((word) => [...word].length >= minWordCharacters)
    .sort((a, b) => b.length - a.length)
}

const notInWords = /[^\p{L}\p{M}\p{N}]+/u

/** The name, the address, the domain in both forms, and the display name. */
function textsOf({ name, domain, display_name }: Person): string[] {
  const ofDomain = domain ? [`${name}@${domain}`, domain, unicodeName(domain) ?? ''] : []
  return [name, display_name ?? '', ...ofDomain].map((text) => text.normalize('NFKC').toLowerCase())
}

/** Fewer were not let pass by themselves either (NIST SP 800-63B). */
const leastUnguessed = 8

/** Throws `password-too-weak`, whose detail repeats nothing of the password. NIST SP 800-63B §5.1.1.2. */
export async function assertStrong(
  password: string,
  { minLength, people }: PasswordPolicy,
  pointer = '/password',
): Promise<void> {
  if (lengthOf(password) < minLength) {
    const detail = `Choose a password of at least ${minLength} characters, or send \`generate_password: true\`.`
    throw problemAt('password-too-weak', pointer, detail)
  }
  const isCommon = await loadCommonPasswords()
  const words = personalWords(...people)
  const { characters, guesses } = estimate(saslprepForm(password), { words, isCommon })
  if (characters >= leastUnguessed) return
  const found = reasons.filter(([guess]) => guesses.has(guess)).map(([, reason]) => reason)
  const detail = `The password has ${found.join(' and ')}, and little besides. Each such part counts as one character, and ${leastUnguessed} are needed. Choose another one, or send \`generate_password: true\`.`
  throw problemAt('password-too-weak', pointer, detail)
}

const reasons: [Guess, string][] = [
  ['personal', 'the name, the address or a part of them in it'],
  ['common', 'one of the most common passwords in it'],
  ['pattern', 'repeated characters or a sequence in it'],
]
