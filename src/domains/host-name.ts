import { problemAt } from '../problems.ts'

const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
/** RFC 1123 §2.1; one label is enough, as inside a company's network. */
export const hostNamePattern = `^${label}([.]${label})*$`
const grammar = new RegExp(hostNamePattern)
const maxOctets = 253

export function parseHostName(text: string, pointer: string): string {
  const name = text.replace(/\.$/, '').toLowerCase()
  if (/^[\x21-\x7e]+$/.test(text) && name.length <= maxOctets && grammar.test(name)) return name
  throw problemAt(
    'invalid-domain-name',
    pointer,
    'A host name has labels of ASCII letters, digits and inner hyphens.',
  )
}
