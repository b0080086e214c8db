/** A mistake of whoever typed the command. */
export class UsageError extends Error {}

interface Switch {
  command: string
  takesValue: boolean
}

const switches: Record<string, Switch> = {
  createuser: { command: 'add', takesValue: true },
  deleteuser: { command: 'delete', takesValue: false },
  user: { command: 'createquotafile', takesValue: true },
}

const helpWords = new Set(['/?', '-?', '-h', '--help', '/help'])

/**
 * The old spelling in that of today's command lines: `/CREATEUSER secret`, `/createuser:secret` and `/createuser=secret`
 * become `--createuser=secret`. In any case, in any order; what is no switch comes after `--`, since a password may begin
 * with a hyphen. A password may begin with a slash as well, so no switch is looked for in the one place of it. What is typed
 * wrong is not repeated: it may be a password.
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
    if (word.startsWith('/') && !isPassword(name, words)) options.push(readSwitch(name, word, rest))
    else words.push(word)
  }
  return [name, ...options, '--', ...words]
}

/** Takes the value from what follows, where it is a word of its own. */
function readSwitch(command: string, word: string, following: string[]): string {
  const [, written = '', separator, value] = /^\/([a-z]+)(?:([:=])(.*))?$/is.exec(word) ?? []
  const name = written.toLowerCase()
  const known = Object.hasOwn(switches, name) ? switches[name] : undefined
  if (known?.command !== (command === 'del' ? 'delete' : command))
    throw new UsageError(`${command} has no such switch.`)
  if (!known.takesValue) {
    if (separator === undefined) return `--${name}`
    throw new UsageError(`/${name} takes no value.`)
  }
  const given = separator === undefined ? following.shift() : value
  return given === undefined || given === '' ? `--${name}` : `--${name}=${given}`
}

function isPassword(command: string, before: string[]): boolean {
  return command === 'changepwd' && before.length === 1
}
