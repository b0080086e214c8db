import Type, { type Static } from 'typebox'
import {
  hasControl,
  isBudget,
  isDatabaseUrl,
  isHost,
  isHostName,
  isIssuer,
  isLoopback,
  isNetwork,
  isPort,
  isReadableFile,
  isWebUrl,
  splitList,
} from './values.ts'

/** A text that must satisfy `check`; `expected` completes the sentence "NAME must be …". */
function text(expected: string, description: string, check: (value: string) => boolean, options = {}) {
  return Type.Refine(Type.String({ description, ...options }), check, () => expected)
}

/** Off until it is set. */
function budget(things: string) {
  return Type.Optional(
    text(
      'a whole number from 1 to 1000000',
      `How many ${things} a caller may send a minute, on each replica. Not set: no limit.`,
      isBudget,
    ),
  )
}

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']

/** The environment, one member a variable. The README's table of variables is generated from it. */
export const Environment = Type.Object({
  HOST: text('an IP address or a host name', 'The address to listen on.', isHost, { default: '127.0.0.1' }),
  PORT: text('a whole number from 0 to 65535', 'The port to listen on; 0 takes any free one.', isPort, {
    default: '8080',
  }),
  PUBLIC_URL: Type.Optional(
    text(
      'an http(s) URL without user, path, query and fragment',
      'The address under which clients reach the service; the only source of absolute links.',
      (value) => isWebUrl(value) && new URL(value).pathname === '/',
    ),
  ),
  TLS_CERT_FILE: Type.Optional(
    text('a file that can be read', 'The certificate chain (PEM) to serve HTTPS with.', isReadableFile),
  ),
  TLS_KEY_FILE: Type.Optional(
    text('a file that can be read', 'The private key (PEM) of TLS_CERT_FILE.', isReadableFile),
  ),
  TRUSTED_PROXIES: Type.Optional(
    text(
      'addresses or networks (10.0.0.0/8, fd00::/8) parted by commas, none of them everybody (/0)',
      'The proxies in front, as addresses and networks; X-Forwarded-* headers of others are ignored.',
      (value) => splitList(value).length > 0 && splitList(value).every(isNetwork),
    ),
  ),
  ALLOW_PLAIN_HTTP: text(
    'true or false',
    'true lets the service speak plain HTTP on an address that others can reach.',
    (value) => value === 'true' || value === 'false',
    { default: 'false' },
  ),
  DATABASE_URL: Type.Optional(
    text(
      'a postgres:// or postgresql:// URL',
      'An existing Postgres, 15 or newer; without it the service brings its own.',
      isDatabaseUrl,
    ),
  ),
  MIGRATION_DATABASE_URL: Type.Optional(
    text(
      'a postgres:// or postgresql:// URL',
      'The same database as the owner of the schemas; used for migrations only. Without it DATABASE_URL is used.',
      isDatabaseUrl,
    ),
  ),
  MAILWRIGHT_DATA_DIR: text(
    'a path',
    'The folder for the embedded Postgres and the token key.',
    (value) => !hasControl(value),
    { default: './data' },
  ),
  TOKEN_KEY_FILE: Type.Optional(
    text(
      'a path',
      'The key that signs tokens. Default: token-key.json in MAILWRIGHT_DATA_DIR.',
      (value) => !hasControl(value),
    ),
  ),
  LOG_LEVEL: text(
    `one of ${logLevels.join(', ')}`,
    'The least level that is logged.',
    (value) => logLevels.includes(value),
    { default: 'info' },
  ),
  AUDIT_LOG_FILE: Type.Optional(
    text(
      'a path',
      'A file of its own for audit events, a JSON line each, to be shipped off the machine; opened again on SIGHUP.',
      (value) => !hasControl(value),
    ),
  ),
  UV_THREADPOOL_SIZE: text(
    'a whole number from 1 to 1024',
    "Node's own: its threads. Passwords are hashed on one a core and one more, but never on all of these.",
    (value) => /^\d{1,4}$/.test(value) && Number(value) >= 1 && Number(value) <= 1024,
    { default: '4' },
  ),
  MAIL_SERVER: Type.Optional(
    text(
      'a host name',
      "The mail servers' host name: the first value of the setting mail_server. Default: this machine's name.",
      isHostName,
    ),
  ),
  AUTH_ISSUER: Type.Optional(
    text(
      'an https URL without user, query and fragment (http for a loopback address only)',
      'The OpenID Connect provider whose access tokens are accepted too.',
      isIssuer,
    ),
  ),
  AUTH_AUDIENCE: Type.Optional(
    text(
      'a text without control characters',
      'The audience (aud) that tokens of AUTH_ISSUER must be made for.',
      (value) => !hasControl(value),
    ),
  ),
  AUTH_DOMAINS_CLAIM: text(
    'the name of a claim',
    'The claim of tokens of AUTH_ISSUER that lists the domains its holder may see.',
    (value) => !hasControl(value),
    { default: 'mailwright_domains' },
  ),
  METRICS_PORT: Type.Optional(
    text(
      'a whole number from 0 to 65535',
      'A port of its own for /metrics, without a token; 0 takes any free one. On PORT a token with metrics:read reads them.',
      isPort,
    ),
  ),
  METRICS_HOST: text(
    'a loopback address (127.0.0.1, ::1, localhost)',
    'The address of METRICS_PORT; only this machine may reach it.',
    isLoopback,
    { default: '127.0.0.1' },
  ),
  RATE_LIMIT_READS: budget('GET and HEAD requests'),
  RATE_LIMIT_WRITES: budget('other requests'),
  RATE_LIMIT_PASSWORDS: budget('passwords to be hashed'),
  RATE_LIMIT_NAME_TAKEN: text(
    'a whole number from 1 to 1000000',
    'Of how many names a caller limited to some domains may learn in a minute whether they are taken, over all replicas, without taking them; then it gets 429.',
    isBudget,
    { default: '60' },
  ),
  RATE_LIMIT_CONFIGURATIONS: text(
    'a whole number from 1 to 1000000',
    'How many client configurations an IP address (of IPv6 a /64) may ask for a minute without a token, on each replica; then it gets 429.',
    isBudget,
    { default: '120' },
  ),
  DOVEADM_URL: Type.Optional(
    text(
      'an https URL (http only for loopback)',
      "Dovecot's administration interface, to end the sessions of whoever may no longer log in. Default: that of `npm run mail` on this machine.",
      isIssuer,
    ),
  ),
  DOVEADM_KEY_FILE: Type.Optional(
    text('a file that can be read', 'The key of DOVEADM_URL (doveadm_api_key).', isReadableFile),
  ),
  DOVEADM_MAIL_DIR: Type.Optional(
    text(
      'an absolute path',
      "The folder of all mail on the machine of DOVEADM_URL, to remove purged mailboxes' mail from.",
      (value) => /^\/[^\s:?]+$/.test(value) && !value.includes('/../'),
    ),
  ),
})
export type Environment = Static<typeof Environment>
