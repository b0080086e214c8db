import Type, { type Static, type TObject, type TSchema } from 'typebox'

/** Largest integer that every JSON reader keeps exactly (RFC 8259 §6). */
const maxInteger = 9_007_199_254_740_991

/** Refers to a named schema: a $ref in the document, the full type in TypeScript. */
export function ref<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>(Type.Ref(`${(schema as { $id?: string }).$id}#`))
}

/** JSON Schema 2020-12 says "or null" in `type`; a list of values has to contain it too. */
export function nullable<T extends TSchema>(schema: T) {
  const { type, enum: values, ...rest } = schema as T & { type: string; enum?: unknown[] }
  return Type.Unsafe<Static<T> | null>({
    type: [type, 'null'],
    ...(values && { enum: [...values, null] }),
    ...rest,
  })
}

/** A string out of a fixed list. One that is used in several places needs a `title`, its name in the document. */
export function oneOf<const T extends readonly string[]>(values: T, options: object = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options })
}

/** A member that is in every answer. */
export const Timestamp = Type.Unsafe<Date>({ type: 'string', format: 'date-time', description: 'RFC 3339.' })

export function bytes(description: string) {
  return Type.Integer({ format: 'int64', minimum: 0, maximum: maxInteger, description })
}

export const Locked = Type.Boolean({
  description:
    'Login (POP3, IMAP, submission) is refused; mail is still delivered, and an administrator may still delete it or change its password.',
})

export const QuotaBytes = nullable(
  bytes('Storage limit in bytes; 0 = unlimited, null = the default of the domain, else of the server.'),
)

export const authentications = ['local', 'password_file', 'active_directory'] as const
export const Authentication = oneOf(authentications, {
  title: 'Authentication',
  description:
    'Where the secret lives. `local`: verifiers for clear-text and for challenge–response login in Postgres; the account may exist without a mailbox. `password_file`: one Argon2id verifier, clear-text login only; the account lives and dies with its mailbox. `active_directory`: not available in this version.',
})

export const Password = Type.String({
  minLength: 1,
  maxLength: 128,
  format: 'password',
  writeOnly: true,
  description:
    'At least `password_min_length` (12, unless the server is set otherwise) and at most 128 characters; neither what SASLprep (RFC 4013) prohibits nor mainly the name, the address or a very common password. Never in an answer.',
})

export const GeneratePassword = Type.Boolean({
  description:
    'Let the service make the password; it is shown once, in this answer, or sealed with `seal_password_to`.',
})

export const GeneratedPassword = Type.String({
  readOnly: true,
  description: 'The password that was made. Shown here once and kept nowhere in clear.',
})

/** Without named members: a JWK may have any (RFC 7517 §4), and one that is private has an answer of its own. */
export const SealingKey = Type.Unsafe<Record<string, unknown>>({
  $id: 'SealingKey',
  type: 'object',
  description:
    'A public JWK (RFC 7517) that the generated password is encrypted to, so that neither the caller nor anything on the way sees it: EC (P-256, P-384, P-521) or OKP (X25519) for `ECDH-ES+A256KW`, RSA (2048 bits or more) for `RSA-OAEP-256`. Members that are not understood are ignored; a private key is refused.',
  examples: [
    {
      kty: 'EC',
      crv: 'P-256',
      x: 'weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ',
      y: 'e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck',
      kid: 'help-desk-2026',
      use: 'enc',
    },
  ],
})

export const SealedPassword = Type.String({
  readOnly: true,
  description:
    'The generated password, encrypted to `seal_password_to`: a compact JWE (RFC 7516, `A256GCM`) whose payload is the JSON object `{"address", "password", "iat"}`. `address` is that of the mailbox; of an account without one, its name. `npm run -s unseal -- KEYFILE` opens it.',
})

export const NoPassword = Type.Boolean({
  description:
    'The account gets no password, `local` accounts only: a mailbox receives mail at once, and nobody can log in until a password is set. Not with `password` or `generate_password`.',
})

export const SecretOmitted = Type.Boolean({
  readOnly: true,
  description:
    'true: the secret is left out. It was shown in the first answer under the `Idempotency-Key` and is not repeated (whoever lost it sets a new one), or the request was only tried, and there is none.',
})

export function freeText(description: string) {
  return Type.String({
    maxLength: 200,
    description: `${description} At most 200 characters, no control, bidirectional or zero-width ones.`,
  })
}

export const AllowRoleName = Type.Boolean({
  default: false,
  description:
    'Role names (RFC 2142, and those that certificate authorities mail) are refused without it; it needs the scope `names:reserved`.',
})

/** Whether a domain or a mailbox is there, or deleted and not yet purged. */
export const State = oneOf(['active', 'deleted'], { title: 'State' })

/** A parameter with a default: clients need not send it, handlers always have it. */
export function defaulted<T extends TSchema>(schema: T): T {
  return Type.Optional(schema) as unknown as T
}

export const ListQuery = {
  limit: defaulted(
    Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: 'Items on a page.' }),
  ),
  cursor: Type.Optional(Type.String({ maxLength: 1024, description: 'The `next` of the page before.' })),
}

/** Text that a list is filtered by. PostgreSQL has no text with a NUL in it, so nothing could match it. */
export function filterText(maxLength: number, description: string) {
  return Type.String({ maxLength, pattern: '^[^\\u0000]*$', description })
}

/** A page of a list: `{ items, next }`. */
export function listOf<T extends TSchema>(item: T, $id: string) {
  return Type.Object(
    {
      items: Type.Array(ref(item)),
      next: nullable(
        Type.String({ description: 'Send it as `cursor` for the next page; null on the last one.' }),
      ),
    },
    { $id, additionalProperties: false },
  )
}

/** An object schema that refuses members it does not know. */
export function strict<T extends TObject['properties']>(properties: T, options: object = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options })
}

/** The same members, none of them required. */
export function optional<T extends Record<string, TSchema>>(properties: T) {
  return Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, Type.Optional(schema)]),
  ) as unknown as { [K in keyof T]: Type.TOptional<T[K]> }
}

const ifMatch = Type.Optional(
  Type.String({
    maxLength: 1024,
    description: 'The ETag(s) the change is meant for (RFC 9110 §13.1.1); with another version: 412.',
  }),
)

/** Fastify lower-cases header names; other headers pass. */
export const IfMatch = Type.Object({ 'if-match': ifMatch })

export const IfMatchOrNone = Type.Object({
  'if-match': ifMatch,
  'if-none-match': Type.Optional(
    Type.String({ maxLength: 1024, description: 'Only `*`: create, or answer 412 where it exists.' }),
  ),
})

/** What PATCH takes (RFC 7396 §4). */
export const mergePatchTypes = ['application/merge-patch+json', 'application/json']
