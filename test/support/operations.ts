import { document, type Method, type Operation } from './contract.ts'

/** The objects that a request names. */
export interface Target {
  domain: string
  /** An address or an id. */
  mailbox: string
  account: string
  /** The id of a token. */
  token?: string
  /** The id of an import. */
  import?: string
}

export interface DeclaredOperation extends Operation {
  method: Method
  path: string
  /** Whether callers need a token. */
  guarded: boolean
  hasBody: boolean
}

/** All operations of the committed document. */
export const operations: DeclaredOperation[] = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    ...operation,
    method: method as Method,
    path,
    guarded: (operation.security ?? []).length > 0,
    hasBody: operation.requestBody !== undefined,
  })),
)

/** Those of the API itself; /metrics needs a token too. */
export const guardedOperations = operations.filter(({ guarded, path }) => guarded && path.startsWith('/v1/'))

const bodies: Record<string, (target: Target) => object> = {
  createDomain: ({ domain }) => ({ name: domain }),
  updateDomain: () => ({ locked: true }),
  moveDomain: ({ mailbox }) => ({ to: mailbox.split('@')[1] ?? 'nowhere.example' }),
  createMailbox: ({ mailbox }) => ({ address: mailbox, generate_password: true }),
  ensureMailbox: () => ({ generate_password: true }),
  updateMailbox: () => ({ locked: true }),
  renameMailbox: ({ mailbox }) => ({ address: `new-${mailbox}` }),
  createAccount: ({ account }) => ({ name: account, generate_password: true }),
  updateAccount: () => ({ disabled: true }),
  setPassword: () => ({ generate_password: true }),
  createAlias: ({ domain, mailbox }) => ({ address: `group@${domain}`, targets: [mailbox] }),
  updateAlias: () => ({ send_as: true }),
  checkPassword: () => ({ password: 'correct horse battery' }),
  updateServer: () => ({ pop3s_port: 2995 }),
  createImport: ({ mailbox }) => ({ address: mailbox, no_password: true }),
  createToken: ({ account }) => ({ label: `A job for ${account}`, scopes: ['tokens:write'] }),
}

/** A body that the operation accepts. Fails for an operation that nobody has written one for. */
export function bodyFor({ operationId, hasBody }: DeclaredOperation, target: Target): object | undefined {
  const make = bodies[operationId]
  if (hasBody !== (make !== undefined)) throw new Error(`write a body for ${operationId}`)
  return make?.(target)
}

const nobodys = '5f0c1d2e-7a43-4a55-9d0e-8f6a3b1c2d4e'

/** The alias that a request names. */
export function aliasIn(domain: string): string {
  return `team@${domain}`
}

export function pathFor(
  { path }: DeclaredOperation,
  { domain, mailbox, account, token, ...others }: Target,
): string {
  const values: Record<string, string> = {
    ...{ domain, mailbox, account, address: aliasIn(domain), code: 'name-taken' },
    import: others.import ?? nobodys,
    id: token ?? nobodys,
  }
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`no value for {${name}} of ${path}`)
    return encodeURIComponent(value)
  })
}
