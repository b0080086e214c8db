/** A mistake of whoever typed the command. */
export class UsageError extends Error {}

/** The switches of the old tool; true: with a value. */
const switches: Record<string, boolean> = { createuser: true, deleteuser: false, user: true }

const helpWords = new Set(['/?', '-?', '-h', '--help', '/help'])

/**
 * The old spelling in that of today's command lines: `/CREATEUSER secret`, `/createuser:secret` and `/createuser=secret`
 * become `--createuser=secret`. In any case, in any order; what is no switch comes after `--`, since a password may begin
 * with a hyphen. A password may begin with a slash as well, so nothing but a switch is looked for in the one place of it.
 */
export function modernize([command = '/?', ...rest]: readonly string[]): string[] {
  if (helpWords.has(command.toLowerCase())) return ['help']
  const name = command.toLowerCase()
  if (name === 'help') return ['help', ...rest.map((word) => word.toLowerCase())]
  if (rest.some((word) => word === '/?')) return ['help', name]
  const options: string[] = []
  const words: string[] = []
  while (rest.length > 0) {
    const word = rest.shift()!
    const option = readSwitch(word, rest)
    if (option !== undefined) options.push(option)
    else if (word.startsWith('/') && !isPassword(name, words))
      throw new UsageError(`There is no switch ${word}.`)
    else words.push(word)
  }
  return [name, ...options, '--', ...words]
}

/** Takes the value from what follows, where it is a word of its own. */
function readSwitch(word: string, following: string[]): string | undefined {
  const [, written, separator, value] = /^\/([a-z]+)(?:([:=])(.*))?$/is.exec(word) ?? []
  const name = written?.toLowerCase() ?? ''
  if (!Object.hasOwn(switches, name)) return undefined
  if (!switches[name]) {
    if (separator === undefined) return `--${name}`
    throw new UsageError(`/${name} takes no value.`)
  }
  const given = separator === undefined ? following.shift() : value
  return given === undefined || given === '' ? `--${name}` : `--${name}=${given}`
}

function isPassword(command: string, before: string[]): boolean {
  return command === 'changepwd' && before.length === 1
}
