import { problemAt } from './problems.ts'

const maxFreeTextCharacters = 200

/**
 * Characters that hide, reorder or end what stands around them: they forge log lines, CSV cells and
 * what a terminal shows (Unicode UTR #36 §3). `Cf` has the bidi and the zero-width characters.
 */
const deceptive =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}[\p{Default_Ignorable_Code_Point}--\p{Variation_Selector}]]/v

// One selector behind a visible character chooses its glyph, as in Japanese names written with a variant
// kanji (Unicode UTS #37); selectors by themselves or in a row can carry hidden text.
const strayVariationSelector = /(?<![\p{L}\p{N}\p{P}\p{S}])\p{Variation_Selector}/v

/**
 * Text for people, such as a display name, in NFC. Spaces at the ends and the empty string are the
 * client's own: what it sent is what it reads back, or its next comparison would find a difference.
 */
export function parseFreeText(text: string, pointer: string): string {
  const normalized = text.normalize('NFC')
  const fault = faultOf(normalized)
  if (fault !== undefined) throw problemAt('invalid-request', pointer, fault)
  return normalized
}

function faultOf(text: string): string | undefined {
  const characters = [...text].length
  if (characters > maxFreeTextCharacters) {
    return `The text has at most ${maxFreeTextCharacters} characters; this one has ${characters}.`
  }
  const [character] = deceptive.exec(text) ?? strayVariationSelector.exec(text) ?? []
  if (character === undefined) return undefined
  return `The text cannot contain ${describeCharacter(character)}: control, bidirectional and invisible characters are refused.`
}

/** How a detail names a character: only printable ASCII is shown as it is. */
export function describeCharacter(character: string): string {
  if (character === ' ') return 'a space'
  if (/^[!-~]$/.test(character)) return `"${character}"`
  const codePoint = character.codePointAt(0) ?? 0
  return `U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}`
}
