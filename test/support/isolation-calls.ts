import fc from 'fast-check'
import { guardedOperations } from './operations.ts'
import type { Request } from './worlds.ts'

/** What a request may name; each as often something of the caller's as something of others, or nothing. */
export interface Words {
  domain: fc.Arbitrary<string>
  /** Addresses and ids. */
  mailbox: fc.Arbitrary<string>
  account: fc.Arbitrary<string>
  alias: fc.Arbitrary<string>
  token: fc.Arbitrary<string>
  import: fc.Arbitrary<string>
  /** What mail goes to. */
  target: fc.Arbitrary<string>
  etag: fc.Arbitrary<string>
  /** Whether a trial; single requests are, so that the next finds what this one found. */
  dryRun: fc.Arbitrary<boolean>
}

/** What a call says besides its method and the words of its path. */
interface Rest {
  query?: Record<string, unknown>
  headers?: Record<string, string | undefined>
  body?: unknown
}

/**
 * How each operation is called by those who are limited to some domains; `all domains`: it is not for them. A new
 * operation is entered here.
 */
export const calls: Record<string, 'all domains' | ((words: Words) => fc.Arbitrary<Rest>)> = {
  createDomain: 'all domains',
  deleteDomain: 'all domains',
  restoreDomain: 'all domains',
  moveDomain: 'all domains',
  createAccount: 'all domains',
  getServer: 'all domains',
  updateServer: 'all domains',

  listDomains: () => list({ prefix: prefixes, state: fc.constantFrom('active', 'deleted') }),
  getDomain: () => nothing,
  getDomainStatistics: () => nothing,
  updateDomain: ({ target, etag }) =>
    rest({
      body: record({
        locked: fc.boolean(),
        postmaster_address: fc.oneof(target, fc.constant(null)),
        mailbox_limit: rarely(fc.constant(5)),
      }),
      headers: ifMatch(etag),
    }),

  listMailboxes: ({ domain }) =>
    list({
      ...{
        domain,
        prefix: prefixes,
        external_id: fc.constantFrom('1001', '1002'),
        locked: fc.boolean(),
        hold: fc.boolean(),
      },
      name: fc.constantFrom('one', 'f-boss', 'F-BOSS', 'lost', 'f-gone', 'nobody'),
      state: fc.constantFrom('active', 'deleted'),
      updated_since: fc.constantFrom('2020-01-01T00:00:00Z', '2090-01-01T00:00:00Z'),
    }),
  getMailbox: () => nothing,
  createMailbox: (words) =>
    rest({ body: fc.oneof(withAddress(words), withCandidates(words)), headers: once }),
  ensureMailbox: (words) =>
    rest({
      body: mailboxBody(words),
      headers: fc.oneof(ifMatch(words.etag), fc.constant({ 'if-none-match': '*' })),
    }),
  updateMailbox: ({ target, etag }) =>
    rest({ body: fc.oneof(sentValues(target), fc.constant({ hold: false })), headers: ifMatch(etag) }),
  deleteMailbox: ({ etag }) =>
    rest({
      query: record({ account: fc.constantFrom('keep', 'delete'), purge: fc.boolean() }),
      headers: ifMatch(etag),
    }),
  restoreMailbox: ({ etag }) => rest({ headers: both(ifMatch(etag), once) }),
  renameMailbox: ({ domain, etag }) =>
    rest({
      body: fc.record(
        { address: newAddress(domain), keep_old_as_alias: fc.boolean(), allow_role_name: fc.boolean() },
        { requiredKeys: ['address'] },
      ),
      headers: both(ifMatch(etag), once),
    }),

  listAliases: ({ domain, target }) => list({ domain, target, prefix: prefixes }),
  getAlias: () => nothing,
  createAlias: ({ alias, target }) =>
    rest({
      body: fc.record(
        { address: alias, targets: targets(target, 4), send_as: fc.boolean(), allow_role_name: fc.boolean() },
        { requiredKeys: ['address', 'targets'] },
      ),
      headers: once,
    }),
  updateAlias: ({ target, etag }) =>
    rest({ body: record({ targets: targets(target, 4), send_as: fc.boolean() }), headers: ifMatch(etag) }),
  deleteAlias: ({ etag }) => rest({ headers: ifMatch(etag) }),

  listAccounts: () => list({ prefix: prefixes, external_id: fc.constantFrom('1001', '1002') }),
  getAccount: () => nothing,
  updateAccount: ({ etag }) =>
    rest({ body: record({ disabled: fc.boolean(), ...person }), headers: ifMatch(etag) }),
  deleteAccount: ({ etag }) => rest({ headers: ifMatch(etag) }),
  setPassword: ({ etag }) => rest({ body: fc.constantFrom(...passwords, {}), headers: ifMatch(etag) }),
  checkPassword: () => rest({ body: fc.constantFrom({ password: 'correct horse battery' }, {}) }),

  listAuditEvents: ({ domain, mailbox, alias, account, token }) =>
    list({
      ...{ domain, object: fc.oneof(mailbox, alias, account, token, domain) },
      subject: fc.constantFrom('test', 'caller', 'nobody'),
      action: fc.constantFrom(
        'mailbox.rename',
        'mailbox.create',
        'alias.update',
        'alias.delete',
        'token.create',
        'domain.create',
      ),
      since: fc.constantFrom('2020-01-01T00:00:00Z', '2090-01-01T00:00:00Z'),
      until: fc.constantFrom('2020-01-01T00:00:00Z', '2090-01-01T00:00:00Z'),
    }),

  getClientConfiguration: () =>
    rest({
      query: record({ login: fc.constantFrom('clear_text', 'secure_password') }),
      headers: fc.constantFrom({}, { accept: 'text/plain' }),
    }),

  listImports: () => list({}),
  getImport: () => nothing,
  listImportRows: () => list({ status: fc.constantFrom('created', 'failed') }),
  cancelImport: () => nothing,
  createImport: (words) =>
    rest({
      body: fc
        .tuple(newAddress(words.domain), fc.constantFrom('create', 'ensure', 'lock', 'delete'))
        .map(([address, operation]) => ({ address, operation })),
      query: fc.record({ on_error: fc.constantFrom('continue', 'stop') }),
      headers: once,
    }),

  createToken: ({ domain }) =>
    rest({
      body: fc.record(
        {
          label: fc.constantFrom('x', 'y'),
          scopes: fc.constantFrom(['mailboxes:read'], ['tokens:write', 'audit:read']),
          domains: fc.array(fc.oneof({ weight: 9, arbitrary: domain }, fc.constant('*')), {
            minLength: 1,
            maxLength: 3,
          }),
          password_delivery: fc.constantFrom('any', 'sealed'),
          allowed_ips: fc.constantFrom(['127.0.0.1'], ['192.0.2.0/24']),
          limits: fc.constantFrom({ deletes_per_day: 0 }, { locks_per_day: 5 }),
        },
        { requiredKeys: ['label', 'scopes'] },
      ),
      headers: once,
    }),
  listTokens: () => list({ state: fc.constantFrom('active', 'revoked', 'expired') }),
  getToken: () => nothing,
  deleteToken: ({ etag }) => rest({ headers: ifMatch(etag) }),
  resetToken: ({ etag }) => rest({ headers: both(ifMatch(etag), once) }),
}

/** Those that callers limited to some domains may use. */
export const limitedOperations = guardedOperations.filter(
  ({ operationId }) => typeof calls[operationId] === 'function',
)
export const forbiddenOperations = guardedOperations.filter(
  ({ operationId }) => calls[operationId] === 'all domains',
)

/** Names that nobody has, that the caller has, and that were given up; none that others have. */
const freshNames = ['n1', 'n2', 'n3', 'old', 'away', 'lost', 'three', 'moved', 'postmaster', 'info']

function newAddress(domain: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(fc.constantFrom(...freshNames), domain).map((parts) => parts.join('@'))
}

const withAddress = (words: Words) =>
  fc.tuple(newAddress(words.domain), mailboxBody(words)).map(([address, body]) => ({ ...body, address }))
const withCandidates = (words: Words) =>
  fc
    .tuple(
      words.domain,
      fc.uniqueArray(fc.constantFrom(...freshNames), { minLength: 1, maxLength: 4 }),
      mailboxBody(words),
    )
    .map(([domain, name_candidates, body]) => ({ ...body, domain, name_candidates }))

const person = {
  display_name: fc.constantFrom('Taro', null),
  external_id: fc.constantFrom('1001', '1002', null),
  login_until: fc.constantFrom('2090-01-01T00:00:00Z', null),
}

/** Few of them cost a hash. */
const passwords = [{ password: 'correct horse battery' }, { password: 'x' }, { generate_password: true }]
const firstPassword = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ no_password: true }) },
  { weight: 1, arbitrary: fc.constantFrom(...passwords, {}) },
)

function mailboxBody({ target }: Words) {
  const values = record({
    create_account: rarely(fc.constant(false)),
    authentication: rarely(fc.constantFrom('local', 'password_file', 'active_directory')),
    account: record(person),
    allow_role_name: fc.boolean(),
  })
  return fc
    .tuple(values, sentValues(target), firstPassword)
    .map(([one, { locked: _, ...two }, three]) => ({ ...two, ...one, ...three }))
}

const sentValues = (target: fc.Arbitrary<string>) =>
  record({
    locked: fc.boolean(),
    quota_bytes: fc.constantFrom(5, null),
    forward_to: rarely(targets(target, 3)),
    delivery: fc.constantFrom('accept', 'refuse'),
    hold: rarely(fc.boolean()),
  })

const targets = (target: fc.Arbitrary<string>, maxLength: number) =>
  fc.array(target, { minLength: 1, maxLength })
const prefixes = fc.constantFrom('f', 'f-', 'o', 'a', '')
const nothing = fc.constant<Rest>({})
const record = <T extends Record<string, fc.Arbitrary<unknown>>>(members: T) =>
  fc.record(members, { requiredKeys: [] })
const rarely = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 1 }) // undefined is left out
const ifMatch = (etag: fc.Arbitrary<string>) =>
  fc.oneof(
    { weight: 5, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: fc.record({ 'if-match': etag }) },
  )
const once = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.constantFrom({ 'idempotency-key': 'k1' }, { 'idempotency-key': 'k2' }) },
)
const both = (...headers: fc.Arbitrary<object>[]) =>
  fc.tuple(...headers).map((all) => Object.assign({}, ...all))

function list(filters: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Rest> {
  const limits = { limit: fc.constantFrom(1, 2, 100), cursor: rarely(cursors) }
  return fc.record({ query: record({ ...filters, ...limits }) })
}

/** Such as the pages of another caller would give. */
const cursors = fc
  .constantFrom(
    '',
    'f-boss',
    'f-boss@f-foreign.jp',
    'f-foreign.jp',
    'm',
    '2026-01-01T00:00:00.000Z 5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e',
  )
  .map((after) => Buffer.from(JSON.stringify({ after })).toString('base64url'))

function rest(parts: { [part in keyof Rest]: fc.Arbitrary<unknown> }): fc.Arbitrary<Rest> {
  return fc.record(parts as Record<string, fc.Arbitrary<unknown>>) as fc.Arbitrary<Rest>
}

type Named = 'domain' | 'mailbox' | 'account' | 'alias' | 'token' | 'import'

const wordOf: Record<string, Named> = {
  '{domain}': 'domain',
  '{mailbox}': 'mailbox',
  '{account}': 'account',
  '{address}': 'alias',
  '{id}': 'token',
  '{import}': 'import',
}

type Operation = (typeof guardedOperations)[number]

/** What the path of an operation names. */
export function namesIn({ path }: Operation): Named[] {
  return parametersOf(path).map((name) => wordOf[name]!)
}

function parametersOf(path: string): string[] {
  return path.match(/\{\w+\}/g) ?? []
}

/** Requests for an operation that names such things. */
export function requestsFor({ operationId, method, path }: Operation, words: Words): fc.Arbitrary<Request> {
  const call = calls[operationId]
  if (typeof call !== 'function') throw new Error(`say in calls how ${operationId} is called`)
  const names = parametersOf(path)
  const named = fc.tuple(...names.map((name) => spelt(words[wordOf[name]!])))
  const tried = method === 'get' || operationId === 'checkPassword' ? fc.constant(false) : words.dryRun
  return fc.tuple(named, call(words), tried).map(([values, { query = {}, body, headers = {} }, dryRun]) => {
    const filled = names.reduce((text, name, i) => text.replace(name, encodeURIComponent(values[i]!)), path)
    const parameters = Object.entries({ ...query, ...(dryRun && { dry_run: true }) }).filter(
      ([, value]) => value !== undefined,
    )
    const text = String(new URLSearchParams(parameters.map(([name, value]) => [name, String(value)])))
    return {
      method: method.toUpperCase(),
      path: text === '' ? filled : `${filled}?${text}`,
      headers: headers as Record<string, string>,
      ...(body !== undefined && { body }),
    }
  })
}

/** Now and then in other letters. */
function spelt(word: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const ways = fc.constantFrom(
    (text: string) => text,
    (text: string) => text,
    (text: string) => text.toUpperCase(),
    (text: string) => (/\.jp$/.test(text) ? `${text}.` : text),
  )
  return fc.tuple(word, ways).map(([text, way]) => way(text))
}
