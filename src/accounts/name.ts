import { problem, problemAt } from '../problems.ts'
import { describeCharacter } from '../text.ts'

declare const accountName: unique symbol

/** The local part of an address and the login name at once, in lower case. */
export type AccountName = string & { readonly [accountName]: true }

/** Means the same to JavaScript and to PostgreSQL's `~`; the length is checked apart. */
export const namePattern = '^[a-z0-9_-]+([.][a-z0-9_-]+)*$'

export const maxNameCharacters = 64 // RFC 5321 §4.5.3.1.1; a name is ASCII, so characters are octets

// Without the i flag: with it and u, the Kelvin sign and the long s would count as k and s.
const foreignCharacter = /[^A-Za-z0-9_.-]/u

export function parseName(text: string, pointer = '/name'): AccountName {
  const outcome = readName(text)
  if ('fault' in outcome) throw problemAt('invalid-name', pointer, outcome.fault)
  return outcome.name
}

/** For the path: what cannot be a name is no account either. */
export function lookUpName(text: string): AccountName {
  const outcome = readName(text)
  if ('fault' in outcome) throw problem('account-not-found')
  return outcome.name
}

/** For a text with a name in it. */
export function readName(text: string): { name: AccountName } | { fault: string } {
  const fault = faultOf(text)
  // Pure ASCII if there is no fault: toLowerCase would turn the Kelvin sign into k.
  return fault === undefined ? { name: text.toLowerCase() as AccountName } : { fault }
}

/** The limit of `local` accounts is a setting of the server, so it is not in the grammar. */
export function assertNameFits(name: AccountName, limit: number, pointer = '/name'): void {
  if (name.length <= limit) return
  const detail = `Local accounts' names have at most ${limit} characters here; this one has ${name.length}.`
  throw problemAt('invalid-name', pointer, detail)
}

function faultOf(text: string): string | undefined {
  if (text === '') return 'A name has at least one character.'
  const [character] = foreignCharacter.exec(text) ?? []
  if (character !== undefined) {
    return `A name cannot contain ${describeCharacter(character)}; use the letters a to z, digits, hyphen, underscore and period.`
  }
  if (text.startsWith('.')) return 'A name cannot begin with a period.'
  if (text.endsWith('.')) return 'A name cannot end with a period.'
  if (text.includes('..')) return 'A name cannot have two periods in a row.'
  if (text.length > maxNameCharacters) {
    return `A name has at most ${maxNameCharacters} characters; this one has ${text.length}.`
  }
  return undefined
}
