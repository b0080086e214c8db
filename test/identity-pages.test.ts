import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { JWTPayload } from 'jose'
import { createIssuer } from '../src/issuer.ts'
import { createClient } from './support/client.ts'
import { startIdentityProvider } from './support/identity-provider.ts'
import { readBlocks, readPage } from './support/pages.ts'
import { startService } from './support/service.ts'

/** What a page says: the variables to set, and the claims of an access token. */
async function readProvider(page: string) {
  const blocks = readBlocks(await readPage(`docs/${page}`))
  const text = (language: string) => blocks.find((block) => block.language === language)?.text ?? ''
  const variables = Object.fromEntries(
    text('ini')
      .trim()
      .split('\n')
      .map((line) => line.split('=') as [string, string]),
  )
  const { iss, ...claims } = JSON.parse(text('json')) as JWTPayload
  assert.equal(iss, variables.AUTH_ISSUER)
  return { variables, claims }
}

/** The service as the page sets it up, but that a provider of the tests stands at the issuer's path. */
async function start(page: string) {
  const { variables, claims } = await readProvider(page)
  const { AUTH_ISSUER = '', AUTH_AUDIENCE: audience = '', AUTH_DOMAINS_CLAIM: domainsClaim = '' } = variables
  const provider = await startIdentityProvider(new URL(AUTH_ISSUER).pathname)
  const issuer = createIssuer({ issuer: provider.issuer, audience })
  const service = await startService({ issuer, domainsClaim })
  after(provider.stop)
  const as = async (changes: JWTPayload = {}) =>
    createClient(service.url, await provider.sign({ ...claims, ...changes }))
  return { service, claims, domainsClaim, as }
}

for (const page of ['entra.md', 'okta.md', 'keycloak.md']) {
  test(`${page}: the token that it shows may do what its scopes and domains say, and nothing else`, async () => {
    const { service, claims, domainsClaim, as } = await start(page)
    const admin = await service.as()
    for (const name of ['example.jp', 'example.com']) await admin.post('/v1/domains', { name })
    const caller = await as()

    const made = await caller.post('/v1/mailboxes', { address: 'anna@example.jp', generate_password: true })
    assert.equal(made.status, 201)
    assert.equal((await caller.put('/v1/accounts/anna/password', { generate_password: true })).status, 200)
    const elsewhere = await caller.post('/v1/mailboxes', { address: 'ben@example.com', no_password: true })
    assert.deepEqual([elsewhere.status, elsewhere.body.type], [422, '/problems/unknown-domain'])
    const domain = await caller.post('/v1/domains', { name: 'example.net' })
    assert.deepEqual([domain.status, domain.body.type], [403, '/problems/insufficient-scope'])
    const { body } = await admin.get('/v1/audit-events?object=anna@example.jp')
    assert.equal(body.items[0].subject, claims.sub)

    const without = await as({ [domainsClaim]: withoutDomains(claims[domainsClaim]) })
    assert.equal((await without.get('/v1/mailboxes/anna@example.jp')).status, 404)
    assert.equal((await (await as({ aud: 'https://graph.example/' })).get('/v1/mailboxes')).status, 401)
  })
}

/** The claim of a caller to whom no domain was given: Entra keeps the roles that are scopes. */
function withoutDomains(claim: unknown): unknown {
  return Array.isArray(claim) ? claim.filter((word) => !String(word).includes('.')) : undefined
}
