import { randomInt } from 'node:crypto'
import saslprep from '@mongodb-js/saslprep'
import { problemAt } from '../problems.ts'

/** The least that `password_min_length` can be. */
const minCharacters = 8 // NIST SP 800-63B §5.1.1.2
// Longer texts buy no strength, and every octet costs each derivation. Twice the 64 that NIST asks to allow.
const maxCharacters = 128
const maxOctets = 4 * maxCharacters // the most that so many characters can take in UTF-8 (RFC 3629 §3)

/**
 * What the library lets through, though RFC 4013 keeps it out of stored strings. Most are code points that Unicode
 * 3.2 does not assign (§2.5; RFC 3454 table A.1) but that today's NFKC turns into assigned ones, such as U+32FF, the
 * square era name Reiwa: the library looks only after it has normalised, and a client with the tables of 3.2 leaves
 * them as they are and computes another proof. The five from U+2F868 on were decomposed wrongly in 3.2 (Unicode
 * Corrigendum 4), so that here, too, clients differ. The last two are non-characters that its table C.4 lacks.
 */
const missedByLibrary =
  /[\u{3f9}\u{10fc}\u{1d2c}-\u{1dbf}\u{2090}-\u{209c}\u{213b}-\u{213c}\u{2150}-\u{2152}\u{2189}\u{2c7c}-\u{2d6f}\u{321d}-\u{321e}\u{3244}-\u{3250}\u{327c}-\u{327e}\u{32cc}-\u{32cf}\u{32ff}\u{3377}-\u{337a}\u{33de}-\u{33df}\u{33ff}\u{a69c}-\u{ab69}\u{fa2e}-\u{fa2f}\u{fa6b}-\u{fad9}\u{fe10}-\u{fe19}\u{fe47}-\u{fe48}\u{10781}-\u{1ccf9}\u{1d4c1}\u{1d6a4}-\u{1d6a5}\u{1d7ca}-\u{1d7cb}\u{1e030}-\u{1fbf9}\u{2f868}\u{2f874}\u{2f91f}\u{2f95f}\u{2f9bf}\u{ffffe}\u{fffff}]/u

const notAccepted =
  'Use only characters that every mail program can type: no control, private or newer characters (such as emoji), and no mix of right-to-left with other letters (RFC 4013).'

/**
 * What `deriveVerifiers` takes: the password in NFC. It is never trimmed, cut or otherwise made another one. Judges
 * what needs no look-up; the rest is `assertStrong`'s.
 * Throws `password-too-weak` or `password-not-accepted`, neither of which repeats the password.
 */
export function parsePassword(text: string, pointer = '/password'): string {
  // First the octets, which are counted without taking the text apart, so that a huge one costs nothing.
  if (Buffer.byteLength(text) > maxOctets || countCharacters(text) > maxCharacters) {
    const detail = `Send a password of at most ${maxCharacters} characters and ${maxOctets} octets in UTF-8.`
    throw problemAt('password-not-accepted', pointer, detail)
  }
  if (lengthOf(text, pointer) < minCharacters) {
    const detail =
      'Choose a password of more characters (`password_min_length` of the server says how many), or send `generate_password: true`.'
    throw problemAt('password-too-weak', pointer, detail)
  }
  return nfcForm(text)
}

/** The shorter form counts: SASLprep drops invisible characters, and it spells ligatures out. */
export function lengthOf(text: string, pointer = '/password'): number {
  return Math.min(countCharacters(saslprepForm(text, pointer)), countCharacters(nfcForm(text)))
}

/**
 * What a mail program sends with PLAIN and LOGIN. RFC 4616 §4 wants SASLprep from the server, but Dovecot
 * compares the octets it gets, and mail programs send what was typed, which keyboards give in NFC. So a password
 * like `ｐａｓｓｗｏｒｄ` (full-width) works as typed with PLAIN, and in either spelling with SCRAM.
 */
export function nfcForm(password: string): string {
  return password.normalize('NFC')
}

/**
 * What a client computes its response from: RFC 5802 §2.2 (SCRAM) says `Normalize` is SASLprep. RFC 4013 names
 * CRAM-MD5 in its abstract, and the one form for both lets a client choose either mechanism. The two forms are
 * equal for all of ASCII.
 */
export function saslprepForm(password: string, pointer = '/password'): string {
  if (missedByLibrary.test(password)) throw problemAt('password-not-accepted', pointer, notAccepted)
  try {
    return saslprep(password) // "stored string": unassigned code points are refused
  } catch {
    // A prohibited, unassigned or wrongly mixed character; or nothing is left, which is a TypeError. The library's
    // words are dropped, so that they cannot come to hold a piece of the password.
    throw problemAt('password-not-accepted', pointer, notAccepted)
  }
}

function countCharacters(text: string): number {
  return [...text].length // code points, as NIST SP 800-63B §5.1.1.2 counts
}

// Without 0 O 1 l I, which look alike in many fonts.
const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789'
const groups = 5
const groupLength = 5

/** 25 of 57 characters: 145 bits of entropy, in groups that a person can type. */
export function generatePassword(): string {
  return Array.from({ length: groups }, generateGroup).join('-')
}

function generateGroup(): string {
  // randomInt is unbiased: it draws again where a remainder would favour the first characters.
  return Array.from({ length: groupLength }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}
