import { toASCII, toUnicode } from 'tr46'
import { problem, problemAt } from '../problems.ts'
import { describeCharacter } from '../text.ts'

declare const domainName: unique symbol

/** Lower-case A-labels (RFC 5890 §2.3.2.1) without a trailing dot. */
export type DomainName = string & { readonly [domainName]: true }

/** Means the same to JavaScript and to PostgreSQL's `~`; the total length is checked apart. */
export const domainNamePattern =
  '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+([a-z]{1,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$'

export const maxDomainNameOctets = 253 // RFC 1035 §2.3.4: 255 with the length octets of the first and the root label
const maxLabelOctets = 63 // RFC 1035 §2.3.4

// Decomposed letters take up to four UTF-16 units; Punycode is too slow to feed it any more than that.
const maxTextUnits = 4 * maxDomainNameOctets

const strict = { checkBidi: true, checkHyphens: true, checkJoiners: true, useSTD3ASCIIRules: true }

// What UTS #46 would drop in silence, what is invisible, and what belongs to URLs and address literals.
const refusedCharacter = /[%\[\]:\s\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]/v

const dots = /[.\u3002\uFF0E\uFF61]/ // the full stops that UTS #46 maps to the period

const grammar = new RegExp(domainNamePattern)

/** Takes A-labels and U-labels, in any case; one trailing dot is dropped. */
export function parseDomainName(text: string, pointer = '/name'): DomainName {
  const outcome = readDomainName(text)
  if ('fault' in outcome) throw problemAt('invalid-domain-name', pointer, outcome.fault)
  return outcome.name
}

/** For the path: what cannot be a domain name is no domain either. */
export function lookUpDomainName(text: string): DomainName {
  const outcome = readDomainName(text)
  if ('fault' in outcome) throw problem('domain-not-found')
  return outcome.name
}

/** For a text with a domain name in it, whose problem is another. */
export function readDomainName(text: string): { name: DomainName } | { fault: string } {
  if (isPlain(text)) return { name: text as DomainName }
  const textFault = faultOfText(text)
  if (textFault !== undefined) return { fault: textFault }
  const labels = splitLabels(text)
  const name = toASCII(labels.join('.'), strict)
  const fault = faultOfLabels(labels) ?? (name === null ? faultOfIdna(labels) : faultOfName(name))
  return fault === undefined ? { name: name as DomainName } : { fault }
}

/** What UTS #46 leaves as it is, as nearly all names are: A-labels and hyphens in the places of theirs aside. */
function isPlain(text: string): boolean {
  return text.length <= maxDomainNameOctets && plain.test(text) && !text.includes('--')
}

const plain = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]{1,63}$/

function splitLabels(text: string): string[] {
  const labels = text.split(dots)
  if (labels.length > 1 && labels.at(-1) === '') labels.pop()
  return labels
}

function faultOfText(text: string): string | undefined {
  if (text === '') return 'A domain name is needed.'
  if (text.length > maxTextUnits) return `A domain name has at most ${maxDomainNameOctets} octets.`
  const [character] = refusedCharacter.exec(text) ?? []
  if (character === undefined) return undefined
  return `A domain name cannot contain ${describeCharacter(character)}.`
}

function faultOfLabels(labels: string[]): string | undefined {
  const empty = labels.indexOf('')
  if (empty === 0) return 'A domain name cannot begin with a period.'
  if (empty === labels.length - 1) return 'A domain name can end with one period, not with more.'
  if (empty > 0) return 'A domain name cannot have two periods in a row.'
  return undefined
}

function faultOfIdna(labels: string[]): string {
  for (const [index, label] of labels.entries()) {
    const fault = faultOfLabel(label.toLowerCase())
    if (fault !== undefined) return `Label ${index + 1} ${fault}.`
  }
  return 'The labels written from right to left break the rule of RFC 5893 §2.'
}

function faultOfLabel(label: string): string | undefined {
  if (label.startsWith('-')) return 'begins with a hyphen'
  if (label.endsWith('-')) return 'ends with a hyphen'
  const [character] = /[\0-,/:-`{-\x7F]/.exec(label) ?? []
  if (character !== undefined)
    return `contains ${describeCharacter(character)}: use letters, digits and hyphens`
  if (toASCII(label, strict) !== null) return undefined
  if (label.startsWith('xn--')) return 'is not a valid A-label (RFC 5890 §2.3.2.1)'
  if (label.startsWith('--', 2)) return 'has hyphens in its third and fourth place (RFC 5891 §4.2.3.1)'
  return 'is not a valid internationalised label (Unicode UTS #46)'
}

function faultOfName(name: string): string | undefined {
  const labels = name.split('.')
  const long = labels.findIndex((label) => label.length > maxLabelOctets)
  if (long >= 0) {
    return `Label ${long + 1} has ${labels[long]?.length} octets as an A-label; ${maxLabelOctets} are allowed.`
  }
  if (name.length > maxDomainNameOctets) {
    return `A domain name has at most ${maxDomainNameOctets} octets; as A-labels this one has ${name.length}.`
  }
  if (labels.length < 2) return 'A domain name that receives mail has at least two labels, as in example.com.'
  if (!grammar.test(name))
    return 'The last label is letters or an A-label; an IP address is not a domain name.'
  if (toASCII(toUnicode(name, strict).domain, strict) !== name)
    return 'The A-label does not stand for its U-label.'
  return undefined
}

// The scripts in everyday use, Unicode UAX #31 Table 5. The others have too many look-alikes of these.
const everydayScripts =
  'Arabic Armenian Bengali Bopomofo Cyrillic Devanagari Ethiopic Georgian Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Kannada Katakana Khmer Lao Latin Malayalam Myanmar Oriya Sinhala Tamil Telugu Thaana Thai Tibetan'

// Japanese and Korean are written in several, Unicode UTS #39 §5.1; Hangul beside Latin is left out.
const writingSystems = ['Han Hiragana Katakana Latin', 'Hangul Han', ...everydayScripts.split(' ')].map(
  labelPattern,
)

function labelPattern(scripts: string): RegExp {
  const own = scripts.split(' ').map((script) => `\\p{Script_Extensions=${script}}`)
  // Letters, marks and digits only: symbols look like punctuation, as U+29F8 does like a slash.
  return new RegExp(
    `^[0-9\\-[[${own.join('')}\\p{Script_Extensions=Inherited}]&&[\\p{L}\\p{M}\\p{Nd}]]]+$`,
    'v',
  )
}

/** The name to show to people; null when a label mixes scripts, so that the A-labels have to be shown. */
export function unicodeName(name: DomainName): string | null {
  const { domain, error } = toUnicode(name, strict)
  if (error) return null
  const readable = domain.split('.').every((label) => writingSystems.some((pattern) => pattern.test(label)))
  return readable ? domain : null
}
