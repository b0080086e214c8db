import type { Credentials } from '../mailboxes/credentials.ts'
import { problem } from '../problems.ts'
import type { AuthenticationWord } from './autoconfig.ts'

export const loginForms = ['clear_text', 'secure_password'] as const
export type LoginForm = (typeof loginForms)[number]

export interface Login {
  username: string
  mechanisms: readonly string[]
}

/** Those that the mailbox has, at least one of them. */
export type Logins = Partial<Record<LoginForm, Login>>

/** The form that is asked for, or all that there are. */
export function loginsOf(credentials: Credentials, asked: LoginForm | undefined): Logins {
  const forms = asked === undefined ? loginForms : [asked]
  const logins = forms.flatMap((form) => {
    const login = credentials[form]
    return login ? [[form, login] as const] : []
  })
  if (logins.length > 0) return Object.fromEntries(logins)
  throw problem('login-form-unavailable', {
    detail: `The mailbox has no ${asked === undefined ? 'login' : `\`${asked}\` login`} now.`,
  })
}

/** A file has one user name: that of the clear-text login, which every program can do, where there is one. */
export function toWords({ clear_text, secure_password }: Logins): {
  username: string
  authentication: AuthenticationWord[]
} {
  if (clear_text) return { username: clear_text.username, authentication: ['password-cleartext'] }
  const { username = '', mechanisms = [] } = secure_password ?? {}
  return { username, authentication: wordsFor(mechanisms) }
}

/**
 * Thunderbird and K-9 read `password-encrypted` as CRAM-MD5 and know no name of a mechanism; the draft
 * (draft-ietf-mailmaint-autoconfig, "Recommending specific SASL schemes") wants a general word beside such a name for
 * their sake. For SCRAM alone there is none that would work, so there is no file.
 */
function wordsFor(mechanisms: readonly string[]): AuthenticationWord[] {
  if (mechanisms.includes('CRAM-MD5')) {
    const names = mechanisms.filter((one) => one !== 'CRAM-MD5').map((sasl) => ({ sasl }))
    return [...names, 'password-encrypted']
  }
  throw problem('login-form-not-expressible', {
    detail: `The format has no word that mail programs know for ${mechanisms.join(', ')} alone. Ask with \`Accept: text/plain\`.`,
  })
}
