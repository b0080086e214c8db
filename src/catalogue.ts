import { clientConfigurations } from './catalogue/client-configurations.ts'
import { conflicts } from './catalogue/conflicts.ts'

export interface CatalogueEntry {
  status: number
  title: string
  /** Shown on the page `/problems/<code>`: what happened and what the client should do. */
  help: string
}

/**
 * Every problem this service can answer, by its stable code. Clients switch on the code (the end of
 * `type`); a code has one status for ever. RFC 9457.
 */
export const catalogue = {
  'invalid-request': {
    status: 400,
    title: 'The request does not match its schema',
    help: 'The body, a query parameter or a header is malformed, has an unknown member or a value of the wrong type. `errors` names each place. Mend the request; sending it again unchanged cannot succeed.',
  },
  unauthenticated: {
    status: 401,
    title: 'A valid bearer token is needed',
    help: 'No token was sent, or it is expired, revoked, malformed, signed by a key this service does not trust, made for another audience, or used from an address that it is not for. `detail` says which. Get a new one from your identity provider, from whoever makes them with `POST /v1/tokens`, or with `npm run token`.',
  },
  'insufficient-scope': {
    status: 403,
    title: 'The token does not allow this',
    help: 'The token is valid but lacks a scope that the operation needs, or the operation is only for callers with all domains, or it may set passwords only sealed (`password_delivery`). `detail` names what is missing.',
  },
  'not-found': {
    status: 404,
    title: 'No such resource',
    help: 'The path names nothing this service has. Compare it with the reference under `/docs`.',
  },
  'domain-not-found': {
    status: 404,
    title: 'No such domain',
    help: 'The path names a domain that does not exist, is deleted, or is not one of the domains of your token.',
  },
  'mailbox-not-found': {
    status: 404,
    title: 'No such mailbox',
    help: 'The path names a mailbox that does not exist, is deleted, or is not in one of the domains of your token.',
  },
  'account-not-found': {
    status: 404,
    title: 'No such account',
    help: 'The path names an account that does not exist, is deleted, or whose mailbox is not in one of the domains of your token.',
  },
  'alias-not-found': {
    status: 404,
    title: 'No such alias',
    help: 'The path names an alias that does not exist, or is not in one of the domains of your token. The catch-all of a domain is `@domain`.',
  },
  'import-not-found': {
    status: 404,
    title: 'No such import',
    help: 'The path names an import that does not exist, is no longer kept (imports are kept for 30 days after their end), or was made with domains which are not all among those of your token.',
  },
  'token-not-found': {
    status: 404,
    title: 'No such token',
    help: 'The path names a token that does not exist, or that has a domain which is not one of the domains of your token.',
  },
  'method-not-allowed': {
    status: 405,
    title: 'The path does not have this method',
    help: 'The `Allow` header lists the methods of this path.',
  },
  ...clientConfigurations,
  ...conflicts,
  'precondition-failed': {
    status: 412,
    title: 'The resource is not in the expected version',
    help: 'The ETag in `If-Match` is not the current one (somebody changed the resource), or `If-None-Match: *` was sent and it exists. Read it again and decide anew.',
  },
  'content-too-large': {
    status: 413,
    title: 'The body is too large',
    help: 'No single operation needs a body of this size.',
  },
  'unsupported-media-type': {
    status: 415,
    title: 'The media type of the body is not supported',
    help: 'Send `content-type: application/json`; PATCH also takes `application/merge-patch+json` (RFC 7396).',
  },
  'invalid-domain-name': {
    status: 422,
    title: 'This is not a domain name that can receive mail',
    help: 'At least two labels of letters, digits and inner hyphens, each at most 63 octets, 253 in all; internationalised names in U-label or A-label form. `errors` says which rule is broken.',
  },
  'invalid-address': {
    status: 422,
    title: 'This is not an e-mail address this service can hold',
    help: 'An address is `name@domain`; `errors` says which part is wrong.',
  },
  'invalid-network': {
    status: 422,
    title: 'This is not a network that is accepted here',
    help: 'Addresses and networks such as `192.0.2.7` or `10.0.0.0/8`. Those that may relay are at most a /8 (IPv4) or a /32 (IPv6) wide; those of a token lie within the ones of the token that makes it.',
  },
  'invalid-name': {
    status: 422,
    title: 'This is not a name that an account or a mailbox can have',
    help: 'Letters, digits, hyphen, underscore and period; no period first, last or doubled; at most 64 characters, by default at most 20 for `local` accounts.',
  },
  'invalid-login-period': {
    status: 422,
    title: 'This is not a time in which somebody could log in',
    help: '`login_until` has to be after `login_from`, also after the one that is set already, and both between the years 1970 and 9999. null takes a limit away.',
  },
  'role-name-refused': {
    status: 422,
    title: 'The name is reserved for a role',
    help: 'Names such as postmaster, abuse or admin belong to a function of the domain (RFC 2142), and certificate authorities mail some of them. Send `allow_role_name: true` with a token that has the scope `names:reserved`.',
  },
  'unknown-domain': {
    status: 422,
    title: 'The domain does not exist here',
    help: 'The body refers to a domain that does not exist, is deleted, or is not one of the domains of your token.',
  },
  'unknown-account': {
    status: 422,
    title: 'The account does not exist',
    help: 'With `create_account: false` the account must exist already. Create it, or leave `create_account` out.',
  },
  'password-required': {
    status: 422,
    title: 'A new account needs a password',
    help: 'Send `password`, or `generate_password: true` to have one made; an account that nobody logs in with yet is `no_password: true`, `local` only.',
  },
  'password-not-accepted': {
    status: 422,
    title: 'A password cannot be accepted here',
    help: 'An existing account keeps its password; `password`, `generate_password` and `no_password` exclude each other, and `seal_password_to` goes with `generate_password: true`; and characters that cannot be typed on every client (RFC 4013) are refused.',
  },
  'password-hash-refused': {
    status: 422,
    title: 'The password hash is not taken',
    help: 'A row of an import may bring a hash in the form that Dovecot stores: `{ARGON2ID}`, `{ARGON2I}`, `{BLF-CRYPT}` (cost up to 12), `{SHA512-CRYPT}` and `{SHA256-CRYPT}` (up to 656,000 rounds), `{PBKDF2}` (up to 100,000), `{SCRAM-SHA-256}` (4,096 to 1,000,000), or the same without the scheme where the hash names itself (`$2y$`, `$5$`, `$6$`, `$argon2id$`). Others, plain texts and unsalted hashes are refused, and so are hashes that would keep the mail server busy for long. Make the account with `no_password` or a new password instead.',
  },
  'password-too-weak': {
    status: 422,
    title: 'The password is too weak',
    help: 'It is shorter than `password_min_length` of the server, or it is easily guessed: a very common password, the name, the address or parts of them, or a repetition with little besides. `detail` says which. Choose another one, or send `generate_password: true`.',
  },
  'sealing-key-private': {
    status: 422,
    title: 'The key to seal the password to is a private one',
    help: 'The JWK in `seal_password_to` has members of a private or symmetric key (`d`, `k`, …). Nothing was done with it and nothing kept, but it has left its holder: make a new pair, and send the public key only.',
  },
  'sealing-key-unsuitable': {
    status: 422,
    title: 'The password cannot be sealed to this key',
    help: 'Send a public JWK (RFC 7517): EC with P-256, P-384 or P-521, OKP with X25519 (`ECDH-ES+A256KW`), or RSA of 2048 to 8192 bits (`RSA-OAEP-256`). Its `use`, `key_ops` and `alg`, where it has them, must allow that. `errors` says what is wrong.',
  },
  'authentication-unavailable': {
    status: 422,
    title: 'This kind of authentication is not available here',
    help: '`active_directory` is not available in this version. `password_file` exists only together with a mailbox.',
  },
  'alias-domain': {
    status: 422,
    title: 'The domain is an alias of another',
    help: 'Every address of an alias domain is the address of the same name in the domain that it stands for (`alias_of`), so it has none of its own, and no domain can be an alias of it. Make the address in the other domain, or set `alias_of` to null first.',
  },
  'unknown-target': {
    status: 422,
    title: 'An address that mail is to go to does not exist',
    help: 'A target in one of your domains has to be a mailbox or an alias that is there. Create it first, or leave it out; `errors` names it.',
  },
  'send-as-refused': {
    status: 422,
    title: 'Nobody can send as a catch-all',
    help: 'A catch-all stands for any address of its domain, so its targets would send as anybody. Make an alias for the address that they should send as.',
  },
  'forwarding-refused': {
    status: 422,
    title: 'Mail may not be sent on to this domain',
    help: 'The setting `forward_allowed_domains` lists the domains outside the installation that mail may be sent on to, and this is none of them. Choose another address, or ask the administrator of the installation.',
  },
  'idempotency-key-reused': {
    status: 422,
    title: 'The idempotency key belongs to another request',
    help: 'In the last 24 hours a request with another path or body was done under this `Idempotency-Key`. Nothing was changed. Take a new key for each new thing to be done; repeat a request unchanged.',
  },
  'too-many-requests': {
    status: 429,
    title: 'The caller has done this too often',
    help: 'Each caller has a budget for what it does in a minute (see the headers `RateLimit` and `RateLimit-Policy`), of one account only a few checks of its password may fail in a row, whoever asks, and only a few whole lists are given out to a caller at once. Nothing was changed. Try again after `Retry-After` seconds, and do not repeat a check whose answer is known.',
  },
  'fuse-blown': {
    status: 429,
    title: 'The token has reached a limit of what it may do in a day',
    help: 'The token, or one that it was made with, has `limits` for deletions, locks or new passwords in a day (UTC), and the request would exceed one. Nothing was changed. From now on everything that counts against that limit is refused, the next day too: there is no `Retry-After`, and repeating does not help. Find out why so much was wanted; then another token with `tokens:write` resets it with POST /v1/tokens/{id}/reset. A deletion of a whole domain needs as much as it has mailboxes and aliases.',
  },
  'internal-error': {
    status: 500,
    title: 'The service failed',
    help: "The fault is the service's. Nothing was half-done. Report it with the `instance`; try again later.",
  },
  busy: {
    status: 503,
    title: 'The service has too much to do',
    help: 'Nothing was changed. Try again after `Retry-After` seconds.',
  },
  unavailable: {
    status: 503,
    title: 'The service cannot reach what it needs',
    help: 'Its database, or the identity provider whose keys verify your token, does not answer. Try again after `Retry-After` seconds. If the connection was lost in the middle of a write, read the object to learn whether it was made; PUT, and POST with an `Idempotency-Key`, can simply be repeated.',
  },
} as const satisfies Record<string, CatalogueEntry>

export type ProblemCode = keyof typeof catalogue
