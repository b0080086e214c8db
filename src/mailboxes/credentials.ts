import Type, { type Static } from 'typebox'
import { SecurePasswordMechanism } from '../accounts/mechanism-schema.ts'
import type { Mechanism } from '../accounts/verifiers.ts'
import { oneOf, ref, strict } from '../schemas.ts'

const ClearTextLogin = strict(
  {
    username: Type.String({ description: 'The full address.' }),
    mechanisms: Type.Array(oneOf(['PLAIN', 'LOGIN'], { title: 'ClearTextMechanism' })),
  },
  {
    $id: 'ClearTextLogin',
    description:
      'For programs that send the password itself, inside TLS (POP3 USER/PASS, SASL PLAIN or LOGIN).',
  },
)

const SecurePasswordLogin = strict(
  {
    username: Type.String({ description: 'The bare name. The mail servers take the full address here too.' }),
    mechanisms: Type.Array(SecurePasswordMechanism, {
      description: 'Those for which this account has a verifier.',
    }),
  },
  {
    $id: 'SecurePasswordLogin',
    description: 'For programs that prove the password by challenge and response.',
  },
)

const MailServerEndpoint = strict(
  {
    protocol: oneOf(['pop3', 'imap', 'submission']),
    host: Type.String(),
    port: Type.Integer({ minimum: 1, maximum: 65535 }),
    security: oneOf(['tls', 'starttls']),
  },
  { $id: 'MailServerEndpoint' },
)

const orNull = <T extends Type.TSchema>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ anyOf: [ref(schema), { type: 'null' }] })

export const Credentials = strict(
  {
    clear_text: orNull(ClearTextLogin),
    secure_password: orNull(SecurePasswordLogin),
    servers: Type.Array(ref(MailServerEndpoint)),
  },
  {
    $id: 'Credentials',
    description:
      'What a person enters in a mail program, for both kinds of login. A form that cannot work is null. What is listed logs in whenever `login_blocked_by` is empty; a lock does not change it.',
  },
)
export type Credentials = Static<typeof Credentials>

export const credentialSchemas = [ClearTextLogin, SecurePasswordLogin, MailServerEndpoint, Credentials]

/** What the mail servers of a domain are reached by, and whether they take clear-text logins. */
export interface ServerFacts {
  require_secure_password: boolean
  mail_server: string
  pop3s_port: number
  imaps_port: number
  submission_port: number
}

/** What decides which logins work. */
export interface LoginFacts extends Pick<ServerFacts, 'require_secure_password'> {
  address: string
  name: string
  password_set_at: Date | null
  /** The mechanisms the account has a verifier for. */
  mechanisms: Mechanism[]
  /** The mechanisms the domain, else the server lists. */
  listed_mechanisms: Mechanism[]
}

export type CredentialFacts = LoginFacts & ServerFacts

/**
 * Both login forms of a mailbox. A verifier whose mechanism is no longer listed does not count: the mail
 * servers refuse it too.
 */
export function toCredentials(facts: CredentialFacts): Credentials {
  return { ...toLogins(facts), servers: toServers(facts) }
}

export function toLogins(facts: LoginFacts): Omit<Credentials, 'servers'> {
  const mechanisms = facts.mechanisms.filter((one) => facts.listed_mechanisms.includes(one))
  const clearText = facts.password_set_at !== null && !facts.require_secure_password
  return {
    clear_text: clearText ? { username: facts.address, mechanisms: ['PLAIN', 'LOGIN'] } : null,
    secure_password: mechanisms.length > 0 ? { username: facts.name, mechanisms } : null,
  }
}

export function toServers({
  mail_server: host,
  pop3s_port,
  imaps_port,
  submission_port,
}: ServerFacts): Credentials['servers'] {
  return [
    { protocol: 'pop3', host, port: pop3s_port, security: 'tls' },
    { protocol: 'imap', host, port: imaps_port, security: 'tls' },
    { protocol: 'submission', host, port: submission_port, security: 'starttls' },
  ]
}
