import type { CatalogueEntry } from '../catalogue.ts'

/** What stands against an answer in another form than JSON, and against telling how a mail program is set up. */
export const clientConfigurations = {
  'configuration-not-found': {
    status: 404,
    title: 'There is no client configuration for this domain',
    help: 'The address, or without one the host name of the request, is not in a domain whose logins a mail program can be told here: the domain is not of this installation, it is an alias of another one (log in with the address there), or the installation takes no clear-text logins. Whether the address itself exists is never looked up.',
  },
  'not-acceptable': {
    status: 406,
    title: 'There is no answer of an accepted media type',
    help: 'The `Accept` header takes none of the media types that the operation answers with; `detail` lists them. A list is a page as `application/json`, which it is without the header too, and whole as `application/x-ndjson` or `text/csv`.',
  },
  'login-form-unavailable': {
    status: 422,
    title: 'The mailbox does not have this form of login',
    help: 'It has no password yet, or the server takes challenge and response only (`require_secure_password`), or the account has no verifier for that (`password_file`, or a mechanism that was listed after its last change of password). `credentials` of the mailbox shows the forms that it has.',
  },
  'login-form-not-expressible': {
    status: 422,
    title: 'The format cannot express this form of login',
    help: 'Mail programs read the one word that this XML has for challenge and response, `password-encrypted`, as CRAM-MD5. An account with SCRAM-SHA-256 alone would not log in by it. Ask for `login=clear_text`, or with `Accept: text/plain` for a text that a person can follow.',
  },
} as const satisfies Record<string, CatalogueEntry>
