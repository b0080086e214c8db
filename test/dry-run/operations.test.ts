import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Client, outcome, type Reply } from '../support/client.ts'
import {
  aliasIn,
  bodyFor,
  type DeclaredOperation,
  operations,
  pathFor,
  type Target,
} from '../support/operations.ts'
import { everyRow } from '../support/rows.ts'
import { startService } from '../support/service.ts'

// Every operation that writes, as the document lists them: a new one fails here until it is arranged for.

const service = await startService()
const { admin } = service
const client = await service.as()
const domain = 'example.jp'
const elsewhere = await service.as({ domains: ['elsewhere.example'] })

before(() => client.post('/v1/domains', { name: domain }))

let serial = 0
const newTarget = (): Target => {
  const name = `trial${++serial}`
  return { domain: `${name}.example`, mailbox: `${name}@${domain}`, account: name }
}

const createDomain = ({ domain: name }: Target) => client.post('/v1/domains', { name })
const createMailbox = ({ mailbox }: Target) =>
  client.post('/v1/mailboxes', { address: mailbox, generate_password: true })
const createAccount = ({ account }: Target) =>
  client.post('/v1/accounts', { name: account, generate_password: true })
const createAlias = async (target: Target) => {
  await createDomain(target)
  await createMailbox(target)
  await client.post('/v1/aliases', { address: aliasIn(target.domain), targets: [target.mailbox] })
}
const nothing = async () => {}

/** What has to be there for an operation to succeed. */
const arrange: Record<string, (target: Target) => Promise<unknown>> = {
  createDomain: nothing,
  updateDomain: createDomain,
  deleteDomain: createDomain,
  restoreDomain: async (target) => {
    await createDomain(target)
    await createMailbox({ ...target, mailbox: `${target.account}@${target.domain}` })
    await client.delete(`/v1/domains/${target.domain}?mailboxes=delete&expect=1`)
  },
  moveDomain: async (target) => {
    await createDomain(target)
    await createMailbox({ ...target, mailbox: `${target.account}@${target.domain}` })
  },
  createMailbox: nothing,
  ensureMailbox: nothing,
  updateMailbox: createMailbox,
  deleteMailbox: createMailbox,
  restoreMailbox: async (target) => {
    await createMailbox(target)
    await client.delete(`/v1/mailboxes/${target.mailbox}`)
  },
  renameMailbox: createMailbox,
  createAccount: nothing,
  updateAccount: createAccount,
  deleteAccount: createAccount,
  setPassword: createMailbox,
  updateServer: nothing,
  createAlias: async (target) => {
    await createDomain(target)
    await createMailbox(target)
  },
  updateAlias: createAlias,
  deleteAlias: createAlias,
  cancelImport: async (target) => {
    const { body } = await client.post('/v1/imports', { address: target.mailbox, no_password: true })
    target.import = body.id
  },
  createToken: createDomain,
  deleteToken: async (target) => {
    const { body } = await client.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'] })
    target.token = body.id
  },
  resetToken: async (target) => {
    const wish = { label: 'A job', scopes: ['domains:read'], limits: { deletes_per_day: 5 } }
    target.token = (await client.post('/v1/tokens', wish)).body.id
    await admin.query(
      `insert into app.token_fuses (token, kind, day, count, allowed) values ($1, 'deletes', current_date, 3, 5)`,
      [target.token],
    )
  },
}

interface Sending {
  as?: Client
  headers?: Record<string, string>
  query?: string
}

function send(operation: DeclaredOperation, target: Target, sending: Sending = {}): Promise<Reply> {
  const { as = client, headers = {}, query = '' } = sending
  const path = `${pathFor(operation, target)}${query}`
  const { method } = operation
  if (method === 'get' || method === 'delete') return as[method](path, { headers })
  return as[method](path, bodyFor(operation, target), { headers })
}

/** Ids, versions and times are of their own call; a secret is shown by the real one alone. */
function comparable({ status, headers, body }: Reply) {
  const { secret_omitted, generated_password, token, ...members } = body ?? {}
  const text = JSON.stringify({ ...members, instance: undefined })
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<id>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
  const secret = secret_omitted === true || typeof (generated_password ?? token) === 'string'
  return { status, type: headers.get('content-type'), body: JSON.parse(text), secret }
}

/** Tries twice, so that a trace of the first would show in the second, then does it. */
async function assertSame(operation: DeclaredOperation, target: Target, sending?: Sending): Promise<string> {
  const rows = await everyRow(admin)
  const tries = []
  for (let i = 0; i < 2; i++)
    tries.push(await send(operation, target, { ...sending, query: '?dry_run=true' }))
  assert.deepEqual(await everyRow(admin), rows)
  const real = await send(operation, target, sending)
  for (const tried of tries) {
    assert.deepEqual(comparable(tried), comparable(real))
    const [mark, ...absent] = ['dry-run', 'etag', 'location'].map((name) => tried.headers.get(name))
    if (tried.status < 400) assert.equal(mark, 'true') // a token is refused before anything is tried
    assert.deepEqual(absent, [null, null])
    assert.doesNotMatch(JSON.stringify(tried.body ?? ''), /"(generated_password|token)"/)
  }
  assert.equal(real.headers.get('dry-run'), null)
  if (real.status < 400) assert.notDeepEqual(await everyRow(admin), rows)
  else assert.deepEqual(await everyRow(admin), rows)
  return outcome(real)
}

interface Parameter {
  name: string
  in: string
}

function takesDryRun(operation: DeclaredOperation): boolean {
  const { parameters = [] } = operation as DeclaredOperation & { parameters?: Parameter[] }
  return (
    operation.operationId !== triesItself &&
    parameters.some(({ name, in: place }) => name === 'dry_run' && place === 'query')
  )
}

const writing = operations.filter(({ method, path }) => method !== 'get' && path.startsWith('/v1/'))

/** They change nothing, and what limits their use has to count. */
const untried = ['checkPassword']
/** Its `dry_run` is about the rows; test/imports tries them. */
const triesItself = 'createImport'

test('every operation that changes something can be tried, and no other', () => {
  const tried = operations.filter(takesDryRun).map(({ operationId }) => operationId)
  const expected = writing
    .map(({ operationId }) => operationId)
    .filter((id) => ![...untried, triesItself].includes(id))
  assert.deepEqual(tried, expected)
  for (const operation of operations) {
    for (const [status, { headers = {} }] of Object.entries(operation.responses)) {
      const declared = Object.hasOwn(headers, 'dry-run')
      assert.equal(declared, takesDryRun(operation) && status < '4', `${operation.operationId} ${status}`)
    }
  }
})

for (const operation of writing.filter(takesDryRun)) {
  const { operationId, method, path, responses } = operation
  describe(operationId, () => {
    const newArranged = async (): Promise<Target> => {
      const target = newTarget()
      const make = arrange[operationId]
      assert.ok(make, `say what has to be there for ${operationId}`)
      await make(target)
      return target
    }

    test('is answered as if it were done, and then as if it were done again', async () => {
      const target = await newArranged()
      assert.match(await assertSame(operation, target), /^20[014]$/)
      const rows = await everyRow(admin)
      const tried = await send(operation, target, { query: '?dry_run=true' })
      assert.deepEqual(await everyRow(admin), rows)
      assert.deepEqual(comparable(tried), comparable(await send(operation, target)))
    })

    test("is refused as ever where its object is not there, or not the caller's, or of another version", async () => {
      const headers = { 'if-match': '"another"' }
      if (responses['412']) {
        assert.equal(await assertSame(operation, await newArranged(), { headers }), '412 precondition-failed')
      }
      if (path.includes('{') && method !== 'put')
        assert.match(await assertSame(operation, newTarget()), /^404 /)
      const foreign = await assertSame(operation, await newArranged(), { as: elsewhere })
      assert.match(foreign, operationId === 'createToken' ? /^201/ : /^4\d\d /) // whose domains are the maker's own
    })
  })
}
