import { existsSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { commandLine } from './cli/command-line.ts'
import { readConfig } from './config.ts'
import { type DomainName, parseDomainName } from './domains/name.ts'
import { type Grant, loadOrCreateKeys } from './keys.ts'
import { ProblemError } from './problems.ts'
import { isScope, type Scope, scopeDescriptions, scopes } from './scopes.ts'

const usage = `Prints a bearer token of this installation. It works while the service runs and while it does not.

  ${commandLine('token')} [--scope "<scope> …"] [--domain <domain>] [--expires <time>] [--subject <name>]
      [--password-delivery sealed]

  --scope    What the token allows; several in one option or in several. Default: everything.
  --domain   A domain it is limited to; give it again for more. Default: all domains.
  --expires  How long it is valid, in minutes or hours: 30m, 8h; at most 24h. Default: 1h.
  --subject  The name that the audit shows. Default: command-line.
  --password-delivery
             sealed: it sets passwords only by having them made here and encrypted to a key. Default: any.
  --help     Prints this.

Scopes:
${scopes.map((scope) => `  ${scope.padEnd(16)} ${scopeDescriptions[scope]}`).join('\n')}
`

const options = {
  scope: { type: 'string', multiple: true },
  domain: { type: 'string', multiple: true },
  expires: { type: 'string', default: '1h' },
  subject: { type: 'string', default: 'command-line' },
  'password-delivery': { type: 'string', default: 'any' },
  help: { type: 'boolean', default: false },
} as const

const maxMinutes = 24 * 60 // longer-lived tokens can be revoked, which needs the service

/** A mistake of whoever typed the command. */
class UsageError extends Error {}

function readGrant(args: string[]): Grant | 'help' {
  const { scope, domain, expires, subject, help, 'password-delivery': delivery } = parseOptions(args)
  if (help) return 'help'
  return {
    subject: parseSubjectName(subject),
    scopes: scope ? parseScopeList(scope) : scopes,
    domains: domain ? parseDomainList(domain) : '*',
    expiresInSeconds: parseMinutes(expires) * 60,
    ...(isSealedOnly(delivery) && { passwordDelivery: 'sealed' as const }),
  }
}

function parseOptions(args: string[]) {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function parseScopeList(values: string[]): Scope[] {
  const words = values.flatMap((value) => value.split(/\s+/)).filter((word) => word !== '')
  const unknown = words.filter((word) => !isScope(word))
  if (unknown.length > 0) throw new UsageError(`Unknown scope: ${quoted(unknown)}.`)
  if (words.length === 0) throw new UsageError('--scope needs at least one scope.')
  return words.filter(isScope)
}

function parseDomainList(values: string[]): '*' | DomainName[] {
  return values.includes('*') ? '*' : values.map(parseDomain)
}

function parseDomain(value: string): DomainName {
  try {
    return parseDomainName(value, 'domain')
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error
    throw new UsageError(`--domain ${quoted([value])}: ${error.message}`)
  }
}

function parseMinutes(text: string): number {
  const [, count, unit] = /^(\d{1,4})([mh])$/.exec(text) ?? []
  const minutes = Number(count) * (unit === 'h' ? 60 : 1)
  if (minutes >= 1 && minutes <= maxMinutes) return minutes
  throw new UsageError('--expires is a number of minutes or hours, such as 30m or 8h, and at most 24h.')
}

function isSealedOnly(text: string): boolean {
  if (text === 'sealed' || text === 'any') return text === 'sealed'
  throw new UsageError('--password-delivery is sealed or any.')
}

function parseSubjectName(text: string): string {
  if (/^[!-~]{1,100}$/.test(text)) return text
  throw new UsageError('--subject is a name of 1 to 100 ASCII characters without spaces.')
}

function quoted(words: string[]): string {
  return words.map((word) => JSON.stringify(word)).join(', ')
}

async function printToken(args: string[]): Promise<void> {
  const grant = readGrant(args)
  if (grant === 'help') return void process.stdout.write(usage)
  const { tokenKeyFile } = readConfig(process.env)
  const isNew = !existsSync(tokenKeyFile)
  const keys = await loadOrCreateKeys(tokenKeyFile)
  // whoever is in the wrong folder would wonder why the service refuses the token
  if (isNew) process.stderr.write(`There was no key yet; a new one is in ${tokenKeyFile}.\n`)
  process.stdout.write(`${await keys.sign(grant)}\n`)
}

/** The command; sets the exit code. */
export async function token(args: string[]): Promise<void> {
  await printToken(args).catch((error: Error) => {
    const mistake = error instanceof UsageError
    process.stderr.write(mistake ? `${error.message}\n\n${usage}` : `${error.message}\n`)
    process.exitCode = mistake ? 2 : 1
  })
}

if (import.meta.main) await token(process.argv.slice(2))
