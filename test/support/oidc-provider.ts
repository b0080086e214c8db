import type { RequestListener } from 'node:http'
import { exportJWK, generateKeyPair, type JWK } from 'jose'
// @ts-expect-error the package has no types
import Provider from 'oidc-provider'
import { startServer, stopServer } from './identity-provider.ts'

async function privateJwk(kid: string): Promise<JWK> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return { ...(await exportJWK(privateKey)), kid, alg: 'RS256', use: 'sig' }
}

/** The npm package oidc-provider, giving its client `hr` access tokens for any resource it names. */
export async function startOidcProvider() {
  let listener: RequestListener | undefined
  const { origin, server } = await startServer((request, response) => listener?.(request, response))
  const configure = (keys: JWK[]) => {
    listener = new Provider(origin, configuration(keys)).callback()
  }
  const first = await privateJwk('first')
  configure([first])
  return {
    issuer: origin,
    /** The next tokens are signed with a new key; the old one is still in the set, or is not. */
    async rotate({ keepOld }: { keepOld: boolean }) {
      configure([await privateJwk('second'), ...(keepOld ? [first] : [])])
    },
    async getToken(scope: string, resource = 'https://mail.example/'): Promise<string> {
      const response = await fetch(`${origin}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa('hr:secret')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource }),
      })
      const { access_token: token } = (await response.json()) as { access_token?: string }
      if (token === undefined) throw new Error(`the issuer answered with status ${response.status}`)
      return token
    },
    stop: () => stopServer(server),
  }
}

function configuration(keys: JWK[]) {
  const scope = 'domains:read domains:write mailboxes:write'
  return {
    jwks: { keys },
    clients: [
      {
        client_id: 'hr',
        client_secret: 'secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    extraTokenClaims: () => ({ mailwright_domains: ['example.jp'] }),
    ttl: { ClientCredentials: 3600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, audience: string) => ({
          scope,
          audience,
          accessTokenTTL: 3600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  }
}
