import type { IsCommon } from './common-passwords.ts'

/** What a guesser tries before it tries single characters. */
export type Guess = 'personal' | 'common' | 'pattern'

export interface Estimate {
  /** The characters of the password, with each guessable part counted as one. */
  characters: number
  guesses: ReadonlySet<Guess>
}

/** What is known of a password before it is judged. */
export interface Known {
  /** About the person, in lower case, the longest first. */
  words: readonly string[]
  isCommon: IsCommon
}

/** Which part each character belongs to; 0 is none. */
interface Cover {
  parts: number[]
  guesses: Set<Guess>
}

/**
 * Counts as Microsoft Entra Password Protection does ("How are passwords evaluated"): a part that is easily guessed is
 * one point, like a character that is not.
 */
export function estimate(text: string, known: Known): Estimate {
  const characters = [...text.toLowerCase()]
  const period = periodOf(characters)
  if (period <= characters.length / 2) {
    const unit = estimate(characters.slice(0, period).join(''), known)
    return { characters: unit.characters + 1, guesses: new Set([...unit.guesses, 'pattern' as const]) }
  }
  const cover: Cover = { parts: characters.map(() => 0), guesses: new Set() }
  const spellings = spellingsOf(characters)
  for (const spelling of spellings) coverWords(cover, spelling, known.words)
  coverCommon(cover, characters, spellings, known.isCommon)
  coverRuns(cover, characters)
  const covered = cover.parts.filter((part) => part !== 0)
  const free = characters.length - covered.length
  return { characters: free + new Set(covered).size, guesses: cover.guesses }
}

/** The length of the shortest beginning that, repeated, is the whole text. */
function periodOf(characters: readonly string[]): number {
  const repeats = (period: number) =>
    characters.every((one, i) => i < period || one === characters[i - period])
  let period = 1
  while (period < characters.length && !repeats(period)) period += 1
  return period
}

const lookAlikes: Record<string, string> = {
  '4': 'a',
  '@': 'a',
  '3': 'e',
  '0': 'o',
  $: 's',
  '5': 's',
  '7': 't',
}
/** Some stand for two letters. */
const readings: Record<string, string>[] = [
  {},
  { ...lookAlikes, '1': 'i', '!': 'i' },
  { ...lookAlikes, '1': 'l', '!': 'l' },
]

/** As it is, and with the letters that digits and signs stand for; all of one length. */
function spellingsOf(characters: readonly string[]): string[][] {
  return readings.map((letters) => characters.map((one) => letters[one] ?? one))
}

function coverWords(cover: Cover, spelling: readonly string[], words: readonly string[]): void {
  for (const word of words) {
    const letters = [...word]
    for (let start = 0; start + letters.length <= spelling.length; start += 1) {
      if (letters.every((letter, i) => letter === spelling[start + i]))
        coverPart(cover, start, start + letters.length, 'personal')
    }
  }
}

const letter = /\p{L}/u

/** The whole, or what is left of it without the digits and signs at its ends. */
function coverCommon(
  cover: Cover,
  characters: readonly string[],
  spellings: string[][],
  isCommon: IsCommon,
): void {
  const end = characters.length
  const first = characters.findIndex((one) => letter.test(one))
  const last = characters.findLastIndex((one) => letter.test(one)) + 1
  for (const [from, to] of [
    [0, end],
    [0, last],
    [first, end],
    [first, last],
  ] as const) {
    if (from < 0 || !spellings.some((spelling) => isCommon(spelling.slice(from, to).join('')))) continue
    coverPart(cover, from, to, 'common')
    return
  }
}

/** Three times the same character, or four that follow each other, as in 4321. */
function coverRuns(cover: Cover, characters: readonly string[]): void {
  const points = characters.map((one) => one.codePointAt(0) ?? 0)
  for (let start = 0, end = 0; start < points.length; start = end) {
    const step = (points[start + 1] ?? Number.NaN) - points[start]!
    end = start + 1
    if (Math.abs(step) > 1 || Number.isNaN(step)) continue
    while (end < points.length && points[end]! - points[end - 1]! === step) end += 1
    if (end - start >= (step === 0 ? 3 : 4)) coverPart(cover, start, end, 'pattern')
    else end = start + 1
  }
}

/** Of two that overlap the one that was found first counts. */
function coverPart({ parts, guesses }: Cover, from: number, to: number, guess: Guess): void {
  if (parts.slice(from, to).some((part) => part !== 0)) return
  parts.fill(1 + Math.max(...parts), from, to)
  guesses.add(guess)
}
