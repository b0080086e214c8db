import type { Server, ServerUpdate } from '../../../clients/typescript/src/index.ts'
import { UsageError } from './arguments.ts'

/** One that the service has, by the name that the old tool had for it. */
interface Setting {
  get(server: Server): string
  set(value: string): ServerUpdate
  /** What an administrator of the old tool would expect of it, and it is not. */
  note?: string
}

const settings: Record<string, Setting> = {
  authentication: {
    get: ({ authentication }) => authentication,
    set: (value) => ({ authentication: readAuthentication(value) }),
  },
  sparequired: {
    get: ({ require_secure_password }) => (require_secure_password ? '1' : '0'),
    set: (value) => ({ require_secure_password: readSwitch(value) }),
  },
  port: {
    get: ({ pop3s_port }) => String(pop3s_port),
    set: (value) => ({ pop3s_port: readNumber(value) }),
    note: 'Mail programs are told this port. Which one Dovecot listens on is in its own configuration (service pop3-login).',
  },
}

const elsewhere: Record<string, string> = {
  logging:
    'How much is logged is set for each part: LOG_LEVEL for the service, log_* in the configuration of Dovecot.',
  mailroot:
    "Where mail is kept is in Dovecot's configuration (mail_location, with 2.4 mail_path); the service is told by DOVEADM_MAIL_DIR.",
  threadcount:
    "Threads need no number. How many processes serve POP3 is in Dovecot's configuration (service pop3, process_limit).",
  socket:
    "Connections are limited in Dovecot's configuration (service pop3-login: process_limit, client_limit).",
}

export const settingNames = [...Object.keys(settings), ...Object.keys(elsewhere)].sort()

/** `auth` stands for `authentication`, as it did; the limits of sockets are one thing. */
export function findSetting(written: string): Setting {
  const name = written.toLowerCase()
  const full =
    name === 'auth' ? 'authentication' : name.replace(/^socket(min|max|threshold|backlog)$/, 'socket')
  const setting = Object.hasOwn(settings, full) ? settings[full] : undefined
  if (setting) return setting
  if (Object.hasOwn(elsewhere, full)) throw new UsageError(elsewhere[full])
  throw new UsageError(`There is no such setting; there are: ${settingNames.join(', ')}.`)
}

type Authentication = Server['authentication']

const authentications: readonly string[] = [
  'local',
  'password_file',
  'active_directory',
] satisfies Authentication[]

function readAuthentication(value: string): Authentication {
  const name = value.toLowerCase()
  if (authentications.includes(name)) return name as Authentication
  throw new UsageError(
    'What the numbers meant depended on the machine. Say it by name: local (Windows accounts) or password_file (encrypted password file).',
  )
}

function readSwitch(value: string): boolean {
  if (value === '0' || value === '1') return value === '1'
  throw new UsageError('It is 0 (not required) or 1 (required).')
}

function readNumber(value: string): number {
  if (/^\d{1,5}$/.test(value)) return Number(value)
  throw new UsageError('It is a number from 1 to 65535.')
}
