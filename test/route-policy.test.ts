import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import Fastify, { type FastifySchema } from 'fastify'
import type { PoolClient } from 'pg'
import { auth } from '../src/auth.ts'
import { isScope, type Scope, scopes } from '../src/scopes.ts'
import { type Client, createClient, outcome, type Reply } from './support/client.ts'
import {
  aliasIn,
  bodyFor,
  type DeclaredOperation,
  guardedOperations,
  operations,
  pathFor,
  type Target,
} from './support/operations.ts'
import { startService } from './support/service.ts'

const service = await startService()
const there: Target = { domain: 'example.jp', mailbox: 'user05@example.jp', account: 'user05' }
const nowhere: Target = { domain: 'example.org', mailbox: 'user06@example.org', account: 'user06' }

before(async () => {
  const admin = await service.as()
  await admin.post('/v1/domains', { name: there.domain })
  await admin.post('/v1/mailboxes', { address: there.mailbox, generate_password: true })
  await admin.post('/v1/aliases', { address: aliasIn(there.domain), targets: [there.mailbox] })
  const { body } = await admin.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'] })
  there.token = body.id
  const sent = await admin.post('/v1/imports', { address: there.mailbox, no_password: true })
  there.import = sent.body.id
})

interface Route {
  method: string
  url: string
}

/** Every route that the service really has, from the tree that the router prints. */
function listRoutes(): Route[] {
  const parts: string[] = []
  const printed = service.app.printRoutes({ commonPrefix: false }).split('\n').filter(Boolean)
  return printed.flatMap((line) => {
    const [, indent = '', part = '', methods = ''] = /^(.*)[├└]── (.*?) \((.*)\)$/.exec(line) ?? []
    parts.splice(indent.length / 4, Infinity, part)
    return methods.split(', ').map((method) => ({ method, url: parts.join('') }))
  })
}

/** Open, and not in the document: the document itself, the page that shows it, and the documentation. */
const open = /^\/(openapi\.json|(docs|guide)(\/.*)?)$/

test('the document has every route, but for the document itself and pages for people', () => {
  const routes = listRoutes().filter(({ method, url }) => method !== 'HEAD' && !open.test(url))
  assert.ok(routes.length > 20)
  assert.deepEqual(
    routes.map(({ method, url }) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`).sort(),
    operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`).sort(),
  )
})

test('every operation under /v1 declares the scopes it needs, and of the others only the metrics need any', () => {
  for (const { operationId, path, security } of operations) {
    const needed = (security ?? []).map(({ bearer }) => bearer ?? [])
    if (path === '/metrics') assert.deepEqual(needed, [['metrics:read']])
    else if (!path.startsWith('/v1/')) assert.deepEqual(needed, [], operationId)
    else assert.ok(needed.length > 0 && needed.every((words) => words.length > 0 && words.every(isScope)))
  }
})

test('every operation declares its security, if only to say that there is none', () => {
  assert.deepEqual(
    operations.filter(({ security }) => security === undefined),
    [],
  )
})

function send(client: Client, operation: DeclaredOperation, target: Target): Promise<Reply> {
  const path = pathFor(operation, target)
  const { method } = operation
  if (method === 'get' || method === 'delete') return client[method](path)
  return client[method](path, bodyFor(operation, target))
}

function withoutInstance({ status, body, headers }: Reply) {
  const { instance: _, ...rest } = body
  return { status, body: rest, challenge: headers.get('www-authenticate') }
}

/** The same answer whether the object is there or not. */
async function assertRefused(client: Client, operation: DeclaredOperation, expected: string): Promise<Reply> {
  const [one, other] = await Promise.all([send(client, operation, there), send(client, operation, nowhere)])
  assert.equal(outcome(one), expected, operation.operationId)
  assert.deepEqual(withoutInstance(one), withoutInstance(other), operation.operationId)
  return one
}

/** All but those that the operation needs, and but writing where it needs reading. */
function allScopesBut({ security = [] }: DeclaredOperation): Scope[] {
  const needed = security.flatMap(({ bearer = [] }) => bearer)
  return scopes.filter(
    (scope) => !needed.includes(scope) && !needed.includes(scope.replace(':write', ':read')),
  )
}

describe('with the tables locked, so that nothing can be looked up', () => {
  let blocker: PoolClient
  before(async () => {
    blocker = await service.admin.connect()
    await blocker.query('begin')
    // But for settings and tokens: whether a token is still wanted is asked there while changes cannot be heard in time.
    await blocker.query(
      'lock table app.domains, app.accounts, app.addresses, app.mailboxes, app.idempotency_keys, app.password_checks, app.imports',
    )
  })
  after(async () => {
    await blocker.query('rollback')
    blocker.release()
  })

  for (const operation of guardedOperations) {
    const { operationId } = operation

    test(`${operationId} answers 401 without a token`, async () => {
      const { headers } = await assertRefused(createClient(service.url, ''), operation, '401 unauthenticated')
      assert.equal(headers.get('www-authenticate'), 'Bearer realm="mailwright"')
    })

    test(`${operationId} answers 401 for a garbage token`, async () => {
      for (const token of ['garbage', 'a.b.c', `${await service.token()}x`]) {
        const { headers } = await assertRefused(
          createClient(service.url, token),
          operation,
          '401 unauthenticated',
        )
        assert.match(headers.get('www-authenticate') ?? '', /error="invalid_token"/)
      }
    })

    test(`${operationId} answers 403 for a token without scopes, and for one with all but the one it needs`, async () => {
      for (const held of [[], allScopesBut(operation)]) {
        const client = await service.as({ scopes: held })
        const { headers } = await assertRefused(client, operation, '403 insufficient-scope')
        const [{ bearer = [] } = {}] = operation.security ?? []
        assert.match(headers.get('www-authenticate') ?? '', new RegExp(`scope="${bearer.join(' ')}"`))
      }
    })
  }

  test('HEAD is guarded like GET', async () => {
    const heads = listRoutes().filter(({ method, url }) => method === 'HEAD' && url.startsWith('/v1/'))
    assert.ok(heads.length > 5)
    for (const { url } of heads) {
      const path = new URL(url.replace(/:\w+/, 'example'), service.url)
      const { token } = await service.as({ scopes: [] })
      const anonymous = await fetch(path, { method: 'HEAD' })
      const powerless = await fetch(path, { method: 'HEAD', headers: { authorization: `Bearer ${token}` } })
      assert.deepEqual([url, anonymous.status, powerless.status], [url, 401, 403])
    }
  })
})

test('a token in the query or in a cookie is no token', async () => {
  const token = await service.token()
  const query = await fetch(new URL(`/v1/domains?access_token=${token}`, service.url))
  const cookie = await fetch(new URL('/v1/domains', service.url), { headers: { cookie: `token=${token}` } })
  assert.deepEqual([query.status, cookie.status], [401, 401])
})

test('every operation answers the one who holds the scopes it declares, and writing includes reading', async () => {
  for (const operation of guardedOperations.filter(({ method }) => method === 'get')) {
    for (const { bearer = [] } of operation.security ?? []) {
      const held = bearer.filter(isScope)
      const writers = held.map((scope) => {
        const writer = scope.replace(':read', ':write')
        return isScope(writer) ? writer : scope // some can only be read
      })
      for (const enough of [held, writers]) {
        const reply = await send(await service.as({ scopes: enough }), operation, there)
        assert.equal(outcome(reply), '200', operation.operationId)
      }
    }
  }
})

test('a route that does not say who may call it stops the start', async () => {
  const schemas: (FastifySchema | undefined)[] = [
    undefined,
    {},
    { security: [] },
    { security: [{}] },
    { security: [{ bearer: [] }] },
    { security: [{ bearer: ['no:such'] }] },
    { security: [{ bearer: ['domains:read', 'no:such'] }] },
    { security: [{ bearer: ['domains:read'] }, {}] },
    { security: [{ other: ['domains:read'] }] },
  ]
  for (const schema of schemas) {
    const app = Fastify()
    app.register(
      async (api) => {
        const check = { admitOwn: async () => undefined, admitForeign: async () => undefined }
        await api.register(auth, { keys: service.keys, domainsClaim: 'domains', check })
        api.get('/new', { ...(schema && { schema }) }, async () => 'open')
      },
      { prefix: '/v1' },
    )
    await assert.rejects(async () => app.ready(), /GET \/v1\/new must declare the scopes it needs/)
    await app.close()
  }
})
