import { join, resolve } from 'node:path'
import type { TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { Environment } from './config/environment.ts'
import { isLoopback, splitList } from './config/values.ts'
import type { RateLimits } from './rate-limits/limits.ts'

export { Environment }

export interface Config {
  readonly host: string
  readonly port: number
  /** Without a slash at its end. */
  readonly publicUrl: string | undefined
  readonly tlsCertFile: string | undefined
  readonly tlsKeyFile: string | undefined
  readonly trustedProxies: readonly string[]
  readonly databaseUrl: string | undefined
  readonly migrationDatabaseUrl: string | undefined
  /** Absolute. */
  readonly dataDir: string
  readonly tokenKeyFile: string
  readonly logLevel: string
  readonly auditLogFile: string | undefined
  /** Of libuv's pool, which derives keys, reads files and asks for names. */
  readonly threads: number
  readonly mailServer: string | undefined
  readonly authIssuer: string | undefined
  readonly authAudience: string | undefined
  readonly authDomainsClaim: string
  readonly metricsHost: string
  /** Without it the metrics have no port of their own. */
  readonly metricsPort: number | undefined
  readonly limits: RateLimits
  readonly doveadmUrl: string | undefined
  readonly doveadmKeyFile: string | undefined
  readonly doveadmMailDir: string | undefined
}

/** Everything that is wrong with the environment, a sentence each. */
export class ConfigError extends Error {
  readonly mistakes: readonly string[]

  constructor(mistakes: readonly string[]) {
    super(`The environment is not right:\n${mistakes.map((mistake) => `  - ${mistake}`).join('\n')}`)
    this.name = 'ConfigError'
    this.mistakes = mistakes
  }
}

/** Throws a ConfigError that names every mistake. An empty variable counts as absent. */
export function readConfig(env: Record<string, string | undefined>): Config {
  const values: Record<string, string> = {}
  const mistakes: string[] = []
  for (const [name, schema] of Object.entries<TSchema>(Environment.properties)) {
    const value = env[name] || (schema as { default?: string }).default
    if (value === undefined) continue
    const mistake = findMistake(name, schema, value)
    if (mistake) mistakes.push(mistake)
    else values[name] = value
  }
  mistakes.push(...findContradictions(env, values))
  if (mistakes.length > 0) throw new ConfigError(mistakes)
  return toConfig(values as Environment)
}

function findMistake(name: string, schema: TSchema, value: string): string | undefined {
  const [error] = Value.Errors(schema, value)
  if (!error) return undefined
  // A URL may hold a password: such a value is never shown.
  const shown = /URL|ISSUER/.test(name) ? '' : `, not ${JSON.stringify(value.slice(0, 80))}`
  return `${name} must be ${error.message}${shown}.`
}

/** Rules over two variables. They judge what was given, so that one wrong value is not reported twice. */
function findContradictions(env: Record<string, string | undefined>, values: Record<string, string>) {
  const mistakes: string[] = []
  const both = [
    ['TLS_CERT_FILE', 'TLS_KEY_FILE'],
    ['AUTH_ISSUER', 'AUTH_AUDIENCE'],
    ['DOVEADM_URL', 'DOVEADM_KEY_FILE'],
  ] as const
  for (const [one, other] of both) {
    if (env[one] && !env[other]) mistakes.push(`${one} needs ${other} beside it.`)
    if (env[other] && !env[one]) mistakes.push(`${other} needs ${one} beside it.`)
  }
  if (env.MIGRATION_DATABASE_URL && !env.DATABASE_URL) {
    mistakes.push('MIGRATION_DATABASE_URL needs DATABASE_URL beside it.')
  }
  const guarded = env.TLS_CERT_FILE || env.TRUSTED_PROXIES || env.ALLOW_PLAIN_HTTP === 'true'
  if (values.HOST && !isLoopback(values.HOST) && !guarded) {
    mistakes.push(
      `HOST ${JSON.stringify(values.HOST)} can be reached by others, and plain HTTP would show them passwords and tokens: ` +
        'set TLS_CERT_FILE and TLS_KEY_FILE, or TRUSTED_PROXIES if a proxy in front does TLS, or ALLOW_PLAIN_HTTP=true.',
    )
  }
  return mistakes
}

function toConfig(env: Environment): Config {
  const dataDir = resolve(env.MAILWRIGHT_DATA_DIR)
  return {
    host: env.HOST,
    port: Number(env.PORT),
    publicUrl: env.PUBLIC_URL?.replace(/\/+$/, ''),
    tlsCertFile: env.TLS_CERT_FILE,
    tlsKeyFile: env.TLS_KEY_FILE,
    trustedProxies: splitList(env.TRUSTED_PROXIES ?? ''),
    databaseUrl: env.DATABASE_URL,
    migrationDatabaseUrl: env.MIGRATION_DATABASE_URL,
    dataDir,
    tokenKeyFile: env.TOKEN_KEY_FILE ? resolve(env.TOKEN_KEY_FILE) : join(dataDir, 'token-key.json'),
    logLevel: env.LOG_LEVEL,
    auditLogFile: env.AUDIT_LOG_FILE && resolve(env.AUDIT_LOG_FILE),
    threads: Number(env.UV_THREADPOOL_SIZE),
    mailServer: env.MAIL_SERVER?.toLowerCase(),
    authIssuer: env.AUTH_ISSUER,
    authAudience: env.AUTH_AUDIENCE,
    authDomainsClaim: env.AUTH_DOMAINS_CLAIM,
    metricsHost: env.METRICS_HOST,
    metricsPort: numberOf(env.METRICS_PORT),
    limits: {
      reads: numberOf(env.RATE_LIMIT_READS),
      writes: numberOf(env.RATE_LIMIT_WRITES),
      passwords: numberOf(env.RATE_LIMIT_PASSWORDS),
      nameTaken: Number(env.RATE_LIMIT_NAME_TAKEN),
      configurations: Number(env.RATE_LIMIT_CONFIGURATIONS),
    },
    doveadmUrl: env.DOVEADM_URL,
    doveadmKeyFile: env.DOVEADM_KEY_FILE,
    doveadmMailDir: env.DOVEADM_MAIL_DIR,
  }
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text)
}
