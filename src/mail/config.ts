import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { isDatabaseUrl, isPort, isReadableFile } from '../config/values.ts'

export interface MailConfig {
  readonly dataDir: string
  /** Owns the schemas; undefined: the embedded Postgres of the data folder. */
  readonly ownerUrl: string | undefined
  /** Logins that somebody else made; undefined: they get new passwords. */
  readonly readUrl: string | undefined
  readonly writeUrl: string | undefined
  /** An IP address; undefined: all. */
  readonly host: string | undefined
  readonly ports: Ports
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  /** The program: another than the installed one, such as one that somebody built. */
  readonly dovecot: string
}

const portVariables = {
  smtp: ['SMTP_PORT', '2525'],
  submission: ['SUBMISSION_PORT', '2587'],
  pop3: ['POP3_PORT', '2110'],
  pop3s: ['POP3S_PORT', '2995'],
  imap: ['IMAP_PORT', '2143'],
  imaps: ['IMAPS_PORT', '2993'],
  doveadm: ['DOVEADM_PORT', '2780'],
} as const

export type Ports = Readonly<Record<keyof typeof portVariables, number>>

type Env = Record<string, string | undefined>

const checks: [names: string[], check: (value: string) => boolean, expected: string][] = [
  [Object.values(portVariables).map(([name]) => name), isUsablePort, 'a whole number from 1 to 65535'],
  [
    ['DATABASE_URL', 'MIGRATION_DATABASE_URL', 'MAIL_READ_DATABASE_URL', 'MAIL_WRITE_DATABASE_URL'],
    isDatabaseUrl,
    'a postgres:// or postgresql:// URL',
  ],
  [['MAIL_HOST'], (value) => isIP(value) !== 0, 'an IP address'],
  [['MAIL_CERT_FILE', 'MAIL_KEY_FILE', 'MAIL_DOVECOT'], isReadableFile, 'a file that can be read'],
]

const pairs = [
  ['MAIL_CERT_FILE', 'MAIL_KEY_FILE'],
  ['MAIL_READ_DATABASE_URL', 'MAIL_WRITE_DATABASE_URL'],
] as const

/** Throws an error that names every mistake. An empty variable counts as absent. */
export function readMailConfig(env: Env): MailConfig {
  const mistakes = checks.flatMap(([names, check, expected]) =>
    names.filter((name) => env[name] && !check(env[name])).map((name) => `${name} must be ${expected}.`),
  )
  for (const [one, other] of pairs) {
    if (Boolean(env[one]) !== Boolean(env[other])) mistakes.push(`${one} and ${other} go together.`)
  }
  if (mistakes.length > 0) {
    throw new Error(`The environment is not right:\n${mistakes.map((one) => `  - ${one}`).join('\n')}`)
  }
  const ports = Object.entries(portVariables).map(([key, [name, usual]]) => [key, Number(env[name] || usual)])
  return {
    dataDir: resolve(env.MAILWRIGHT_DATA_DIR || './data'),
    ownerUrl: env.MIGRATION_DATABASE_URL || env.DATABASE_URL || undefined,
    readUrl: env.MAIL_READ_DATABASE_URL || undefined,
    writeUrl: env.MAIL_WRITE_DATABASE_URL || undefined,
    host: env.MAIL_HOST || undefined,
    ports: Object.fromEntries(ports) as Ports,
    certFile: env.MAIL_CERT_FILE ? resolve(env.MAIL_CERT_FILE) : undefined,
    keyFile: env.MAIL_KEY_FILE ? resolve(env.MAIL_KEY_FILE) : undefined,
    dovecot: env.MAIL_DOVECOT ? resolve(env.MAIL_DOVECOT) : 'dovecot',
  }
}

function isUsablePort(value: string): boolean {
  return isPort(value) && Number(value) > 0
}
