import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import Fastify, { type FastifyInstance } from 'fastify'
import type { JWTPayload } from 'jose'
import { auth, mayTouch, requireAllDomains, requireScope } from '../src/auth.ts'
import { catalogue } from '../src/catalogue.ts'
import { parseDomainName } from '../src/domains/name.ts'
import { createIssuer, type Issuer } from '../src/issuer.ts'
import { type Grant, type InstallationKeys, loadOrCreateKeys } from '../src/keys.ts'
import { ProblemError } from '../src/problems.ts'
import { startIdentityProvider, startServer, stopServer } from './support/identity-provider.ts'
import { startOidcProvider } from './support/oidc-provider.ts'

const domainsClaim = 'mailwright_domains'
const grant: Grant = { subject: 'hr', scopes: ['domains:read'], domains: '*', expiresInSeconds: 60 }

/** No token is in a table here. */
const check = { admitOwn: async () => undefined, admitForeign: async () => undefined }

let folder: string
let keys: InstallationKeys
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'auth-'))
  keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
})
after(() => rm(folder, { recursive: true }))

function secured(...alternatives: string[][]) {
  return { security: alternatives.map((bearer) => ({ bearer })) }
}

/** An application as the service builds it: the plugin inside a prefix, and something beside it. */
async function startApp(t: TestContext, issuer?: Issuer, log: string[] = []): Promise<FastifyInstance> {
  const app = Fastify({ logger: { stream: { write: (line: string) => void log.push(line) } } })
  t.after(() => app.close())
  app.setErrorHandler((error, _request, reply) => {
    if (!(error instanceof ProblemError)) return reply.code(500).send({ detail: (error as Error).message })
    return reply
      .code(catalogue[error.code].status)
      .send({ type: `/problems/${error.code}`, detail: error.detail })
  })
  app.get('/livez', () => 'alive')
  app.register(
    async (api) => {
      await api.register(auth, { keys, issuer, domainsClaim, check })
      api.get('/read', { schema: secured(['domains:read']) }, ({ subject }) => ({
        ...subject,
        scopes: [...subject.scopes],
      }))
      api.post('/both', { schema: secured(['domains:write', 'mailboxes:write']) }, () => 'done')
      api.post(
        '/either',
        { schema: secured(['server:write'], ['domains:write', 'mailboxes:write']) },
        () => 'done',
      )
      api.post('/all', { schema: secured(['domains:read']), config: { allDomains: true } }, () => 'done')
      api.post('/more', { schema: secured(['domains:read']) }, async ({ subject }) => {
        requireScope(subject, 'mailboxes:purge')
        return 'done'
      })
      api.post('/every', { schema: secured(['domains:read']) }, async ({ subject }) => {
        requireAllDomains(subject)
        return 'done'
      })
    },
    { prefix: '/v1' },
  )
  await app.ready()
  return app
}

async function ask(app: FastifyInstance, path: string, token?: string) {
  const method = path === '/read' ? 'GET' : 'POST'
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const response = await app.inject({ method, url: `/v1${path}`, headers })
  return { status: response.statusCode, challenge: response.headers['www-authenticate'], body: response.body }
}

describe('registering routes', () => {
  const refused: [name: string, options: object][] = [
    ['without a schema', {}],
    ['without security', { schema: { summary: 'x' } }],
    ['with empty security', { schema: { security: [] } }],
    ['with an alternative for anybody', { schema: { security: [{ bearer: ['domains:read'] }, {}] } }],
    ['without a scope', { schema: secured([]) }],
    ['with an unknown scope', { schema: secured(['domains:reed']) }],
    ['with one known scope and an unknown one', { schema: secured(['domains:read', 'domains:all']) }],
    ['with another scheme', { schema: { security: [{ basic: [] }] } }],
    ['with a scheme more', { schema: { security: [{ bearer: ['domains:read'], key: [] }] } }],
  ]
  for (const [name, options] of refused) {
    test(`a route ${name} stops the start`, async () => {
      const app = Fastify()
      app.register(async (api) => {
        await api.register(auth, { keys, domainsClaim, check })
        api.register(async (deeper) => void deeper.get('/x', options, () => 'open'))
      })
      await assert.rejects(async () => app.ready(), /GET \/x must declare the scopes it needs/)
      await app.close()
    })
  }

  test('a route that was there before the plugin is closed all the same', async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    app.register(async (api) => {
      api.register(auth, { keys, domainsClaim, check })
      api.get('/early', () => 'open')
    })
    await app.ready()
    const response = await app.inject({
      url: '/early',
      headers: { authorization: `Bearer ${await keys.sign(grant)}` },
    })
    assert.equal(response.statusCode, 500)
    assert.match(response.body, /must declare the scopes/)
  })
})

test('at the root, unknown paths are 404 and refusals of earlier hooks stay as they are', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers['x-blocked']) await reply.code(403).send('blocked')
  })
  await app.register(auth, { keys, domainsClaim, check })
  app.get('/read', { schema: secured(['domains:read']) }, () => 'done')
  assert.equal((await app.inject('/nothing')).statusCode, 404)
  const blocked = await app.inject({ url: '/read', headers: { 'x-blocked': 'yes' } })
  assert.deepEqual([blocked.statusCode, blocked.body], [403, 'blocked'])
  assert.equal(blocked.headers['www-authenticate'], undefined)
})

describe('own tokens', () => {
  test('are read into the subject of the request', async (t) => {
    const app = await startApp(t)
    const domains = [parseDomainName('example.jp')]
    const { status, body } = await ask(app, '/read', await keys.sign({ ...grant, domains, tokenId: 'row-1' }))
    assert.equal(status, 200)
    assert.deepEqual(JSON.parse(body), {
      id: 'hr',
      tokenId: 'row-1',
      issuer: keys.installation,
      scopes: ['domains:read'],
      domains: ['example.jp'],
    })
  })

  test('protect HEAD as they protect GET', async (t) => {
    const app = await startApp(t)
    assert.equal((await app.inject({ method: 'HEAD', url: '/v1/read' })).statusCode, 401)
  })

  test('are not asked for outside the scope of the plugin, nor for paths that do not exist', async (t) => {
    const app = await startApp(t)
    assert.equal((await app.inject('/livez')).statusCode, 200)
    assert.equal((await app.inject('/v1/nothing')).statusCode, 404)
  })
})

describe('requests without a bearer token', () => {
  const none: [name: string, url: string, headers: Record<string, string>][] = [
    ['no header', '/v1/read', {}],
    ['another scheme', '/v1/read', { authorization: 'Basic aHI6c2VjcmV0' }],
    ['an empty one', '/v1/read', { authorization: 'Bearer ' }],
    ['a token in the query', '/v1/read?access_token=TOKEN', {}],
    ['a token in a cookie', '/v1/read', { cookie: 'access_token=TOKEN; Authorization=Bearer TOKEN' }],
    [
      'a token in another header',
      '/v1/read',
      { 'x-authorization': 'Bearer TOKEN', 'proxy-authorization': 'Bearer TOKEN' },
    ],
    ['a bare token', '/v1/read', { authorization: 'TOKEN' }],
  ]
  for (const [name, url, headers] of none) {
    test(`get 401 and a challenge without an error: ${name}`, async (t) => {
      const app = await startApp(t)
      const token = await keys.sign(grant)
      const filled = Object.entries(headers).map(([key, value]) => [key, value.replaceAll('TOKEN', token)])
      const response = await app.inject({
        url: url.replace('TOKEN', token),
        headers: Object.fromEntries(filled),
      })
      assert.equal(response.statusCode, 401)
      assert.equal(response.headers['www-authenticate'], 'Bearer realm="mailwright"')
      assert.equal(response.json().type, '/problems/unauthenticated')
    })
  }

  for (const scheme of ['bearer', 'BEARER', 'Bearer ']) {
    test(`the scheme may be written "${scheme}"`, async (t) => {
      const app = await startApp(t)
      const authorization = `${scheme} ${await keys.sign(grant)}`
      assert.equal((await app.inject({ url: '/v1/read', headers: { authorization } })).statusCode, 200)
    })
  }
})

describe('refused tokens', () => {
  const refused: [name: string, token: () => Promise<string> | string, detail: RegExp][] = [
    ['expired', () => keys.sign({ ...grant, expiresInSeconds: -10 }), /expired/],
    ['changed', async () => (await keys.sign(grant)).replace(/\.(.)[^.]*$/, '.$1AAA'), /not signed by a key/],
    ['two words', async () => `${await keys.sign(grant)} x`, /malformed/],
    [
      'with a space in its signature',
      async () => (await keys.sign(grant)).replace(/(..)$/, ' $1'),
      /malformed/,
    ],
    ['no token at all', () => 'x.y.z', /malformed/],
    [
      'without an issuer',
      () => 'eyJhbGciOiJFZDI1NTE5In0.e30.AAAA',
      /issuer that this service does not trust/,
    ],
    [
      'an issuer that is no text',
      () => 'eyJhbGciOiJFZDI1NTE5In0.eyJpc3MiOjd9.AAAA',
      /malformed|does not trust/,
    ],
    [
      'of another installation',
      async () => (await loadOrCreateKeys(join(folder, 'other.json'))).sign(grant),
      /issuer/,
    ],
  ]
  for (const [name, token, detail] of refused) {
    test(`get 401 with the reason: ${name}`, async (t) => {
      const { status, challenge, body } = await ask(await startApp(t), '/read', await token())
      assert.equal(status, 401)
      assert.equal(challenge, 'Bearer realm="mailwright", error="invalid_token"')
      assert.equal(JSON.parse(body).type, '/problems/unauthenticated')
      assert.match(JSON.parse(body).detail, detail)
    })
  }
})

describe('scopes', () => {
  const cases: [path: string, scopes: Grant['scopes'], allowed: boolean, needs?: string][] = [
    ['/read', ['domains:read'], true],
    ['/read', ['domains:write'], true],
    ['/read', ['mailboxes:read'], false, 'domains:read'],
    ['/read', [], false, 'domains:read'],
    ['/both', ['domains:write', 'mailboxes:write'], true],
    ['/both', ['domains:write'], false, 'domains:write mailboxes:write'],
    ['/both', ['domains:read', 'mailboxes:write'], false, 'domains:write mailboxes:write'],
    ['/either', ['server:write'], true],
    ['/either', ['domains:write', 'mailboxes:write'], true],
    ['/either', ['server:read', 'domains:write'], false, 'server:write'],
  ]
  for (const [path, scopes, allowed, needs] of cases) {
    test(`${[...scopes].join(' ') || 'nothing'} ${allowed ? 'opens' : 'does not open'} ${path}`, async (t) => {
      const { status, challenge, body } = await ask(
        await startApp(t),
        path,
        await keys.sign({ ...grant, scopes }),
      )
      assert.equal(status, allowed ? 200 : 403, body)
      if (!needs) return
      assert.equal(challenge, `Bearer realm="mailwright", error="insufficient_scope", scope="${needs}"`)
      assert.equal(JSON.parse(body).type, '/problems/insufficient-scope')
      for (const scope of needs.split(' ')) assert.ok(JSON.parse(body).detail.includes(scope), body)
    })
  }

  for (const path of ['/all', '/every']) {
    test(`${path} is for callers with all domains`, async (t) => {
      const app = await startApp(t)
      assert.equal((await ask(app, path, await keys.sign(grant))).status, 200)
      for (const domains of [[], [parseDomainName('example.jp')]]) {
        const { status, challenge, body } = await ask(app, path, await keys.sign({ ...grant, domains }))
        assert.deepEqual([status, JSON.parse(body).type], [403, '/problems/insufficient-scope'])
        assert.match(JSON.parse(body).detail, /all domains/)
        assert.equal(challenge, 'Bearer realm="mailwright", error="insufficient_scope"')
      }
    })
  }

  test('a handler can ask for another scope', async (t) => {
    const app = await startApp(t)
    const enough = await keys.sign({ ...grant, scopes: ['domains:read', 'mailboxes:purge'] })
    assert.equal((await ask(app, '/more', enough)).status, 200)
    const { status, challenge, body } = await ask(app, '/more', await keys.sign(grant))
    assert.equal(status, 403)
    assert.equal(JSON.parse(body).detail, 'The token needs the scope mailboxes:purge.')
    assert.equal(challenge, 'Bearer realm="mailwright", error="insufficient_scope"')
  })

  test('a caller touches its own domains only', () => {
    const [mine, other] = [parseDomainName('example.jp'), parseDomainName('sub.example.jp')]
    const subject = { id: 'a', tokenId: undefined, issuer: 'i', scopes: new Set<never>() }
    assert.equal(mayTouch({ ...subject, domains: [mine] }, mine), true)
    assert.equal(mayTouch({ ...subject, domains: [mine] }, other), false)
    assert.equal(mayTouch({ ...subject, domains: [] }, mine), false)
    assert.equal(mayTouch({ ...subject, domains: '*' }, other), true)
  })
})

describe('tokens of an identity provider', () => {
  async function startBoth(t: TestContext, path = '') {
    const provider = await startIdentityProvider(path)
    t.after(provider.stop)
    const app = await startApp(t, createIssuer({ issuer: provider.issuer, audience: 'mailwright' }))
    return { ...provider, app }
  }

  test('are accepted beside own ones, those of a real oidc-provider too', async (t) => {
    const provider = await startOidcProvider()
    t.after(provider.stop)
    const app = await startApp(
      t,
      createIssuer({ issuer: provider.issuer, audience: 'https://mail.example/' }),
    )
    const { status, body } = await ask(app, '/read', await provider.getToken('domains:read'))
    assert.equal(status, 200, body)
    const { tokenId, ...subject } = JSON.parse(body)
    assert.deepEqual(subject, {
      id: 'hr',
      issuer: provider.issuer,
      scopes: ['domains:read'],
      domains: ['example.jp'],
    })
    assert.equal(typeof tokenId, 'string')
    assert.equal((await ask(app, '/both', await provider.getToken('domains:read'))).status, 403)
    assert.equal(
      (await ask(app, '/read', await provider.getToken('domains:read', 'https://else.example/'))).status,
      401,
    )
    assert.equal((await ask(app, '/read', await keys.sign(grant))).status, 200)
  })

  const shapes: [
    product: string,
    path: string,
    claims: JWTPayload,
    header: object,
    domains: '*' | string[],
  ][] = [
    [
      'Entra v1, delegated',
      '/tenant/',
      { ver: '1.0', appid: 'app', scp: 'domains:read email' },
      { x5t: 'key-1' },
      [],
    ],
    [
      'Entra v1, application',
      '/tenant/',
      { ver: '1.0', appid: 'app', roles: ['domains:read'], [domainsClaim]: ['*'] },
      { x5t: 'key-1' },
      '*',
    ],
    [
      'Entra v2',
      '/tenant/v2.0',
      { ver: '2.0', azp: 'app', roles: ['domains:read'], [domainsClaim]: 'example.jp' },
      {},
      ['example.jp'],
    ],
    [
      'Okta',
      '/oauth2/default',
      { ver: 1, cid: 'app', scp: ['domains:read', 'openid'], [domainsClaim]: ['example.jp'] },
      { typ: undefined },
      ['example.jp'],
    ],
    [
      'Keycloak, array',
      '/realms/x',
      { typ: 'Bearer', azp: 'app', scope: 'profile domains:read', [domainsClaim]: ['example.jp'] },
      {},
      ['example.jp'],
    ],
    [
      'Keycloak, string',
      '/realms/x',
      { typ: 'Bearer', azp: 'app', scope: 'email domains:read', [domainsClaim]: 'example.jp,example.com' },
      {},
      ['example.jp', 'example.com'],
    ],
  ]
  for (const [product, path, claims, header, domains] of shapes) {
    test(`of the shape of ${product} are read`, async (t) => {
      const { app, issuer, sign } = await startBoth(t, path)
      const { status, body } = await ask(app, '/read', await sign({ jti: 'j', ...claims }, { ...header }))
      assert.equal(status, 200, body)
      assert.deepEqual(JSON.parse(body), {
        id: 'hr-system',
        tokenId: 'j',
        issuer,
        scopes: ['domains:read'],
        domains,
      })
    })
  }

  test('that list all domains in the claim of own tokens have none', async (t) => {
    const { app, sign } = await startBoth(t)
    const { status } = await ask(app, '/all', await sign({ scope: 'domains:read', domains: ['*'] }))
    assert.equal(status, 403)
  })

  test('are 401 as ID tokens and 403 without a known scope', async (t) => {
    const { app, sign } = await startBoth(t)
    const id = await ask(app, '/read', await sign({ nonce: 'n', email: 'a@example.jp' }))
    assert.deepEqual([id.status, id.challenge], [401, 'Bearer realm="mailwright", error="invalid_token"'])
    assert.match(JSON.parse(id.body).detail, /not an access token/)
    assert.equal((await ask(app, '/read', await sign({ scope: 'openid profile' }))).status, 403)
    assert.equal((await ask(app, '/read', await sign({ roles: [] }))).status, 403)
  })

  test('say why they are refused', async (t) => {
    const { app, sign } = await startBoth(t)
    const cases: [JWTPayload, object, RegExp][] = [
      [{ aud: 'else' }, {}, /another audience/],
      [{ exp: 1 }, {}, /expired/],
      [{ nbf: 9_999_999_999 }, {}, /not valid yet/],
      [{ iss: 'https://else.example' }, {}, /issuer that this service does not trust/],
      [{ iss: keys.installation, aud: keys.installation }, {}, /algorithm that is not accepted/],
      [{}, { kid: 'unknown' }, /not signed by a key/],
      [{}, { typ: 'logout+jwt' }, /another typ/],
    ]
    for (const [claims, header, detail] of cases) {
      const { status, body } = await ask(
        app,
        '/read',
        await sign({ scope: 'domains:read', ...claims }, { ...header }),
      )
      assert.equal(status, 401)
      assert.match(JSON.parse(body).detail, detail)
    }
  })

  test('are 503 without a challenge while the provider is away', async (t) => {
    const { app, sign, behaviour } = await startBoth(t)
    behaviour.keys = (_request, response) => response.destroy()
    const { status, challenge, body } = await ask(app, '/read', await sign({ scope: 'domains:read' }))
    assert.deepEqual([status, challenge, JSON.parse(body).type], [503, undefined, '/problems/unavailable'])
    assert.equal((await ask(app, '/read', await keys.sign(grant))).status, 200)
  })

  test('are not trusted when no issuer is configured, and nobody is asked', async (t) => {
    const { origin, server } = await startServer((_request, response) => assert.fail(String(response)))
    t.after(() => stopServer(server))
    const provider = await startIdentityProvider()
    t.after(provider.stop)
    const { status } = await ask(
      await startApp(t),
      '/read',
      await provider.sign({ iss: origin, scope: 'domains:read' }),
    )
    assert.equal(status, 401)
    assert.equal(provider.state.discoveries, 0)
  })
})

describe('the log', () => {
  test('tells of refusals with the id and the address, and never the token', async (t) => {
    const log: string[] = []
    const app = await startApp(t, undefined, log)
    const expired = await keys.sign({ ...grant, expiresInSeconds: -10, tokenId: 'row-1' })
    const weak = await keys.sign({ ...grant, scopes: [], tokenId: 'row-2' })
    await ask(app, '/read')
    await ask(app, '/read', expired)
    await ask(app, '/read', weak)
    await ask(app, '/more', await keys.sign({ ...grant, tokenId: 'row-3' }))
    const events = log.map((line) => JSON.parse(line)).filter(({ event }) => event !== undefined)
    const seen = events.map(({ level, event, token_id, address }) => [level, event, token_id, address])
    assert.deepEqual(seen, [
      [30, 'unauthenticated', undefined, '127.0.0.1'],
      [30, 'unauthenticated', 'row-1', '127.0.0.1'],
      [30, 'forbidden', 'row-2', '127.0.0.1'],
      [30, 'forbidden', 'row-3', '127.0.0.1'],
    ])
    for (const token of [expired, weak]) assert.ok(!log.join().includes(token.split('.')[2]!))
  })
})
