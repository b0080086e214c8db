import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'

export type SigningKey = Awaited<ReturnType<typeof createSigningKey>>

export async function createSigningKey(kid: string, alg = 'RS256') {
  const { privateKey, publicKey } = await generateKeyPair(alg)
  return { kid, alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, use: 'sig' } as JWK }
}

/** A web server on a free loopback port. */
export async function startServer(listener: RequestListener): Promise<{ origin: string; server: Server }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

export async function stopServer(server: Server): Promise<void> {
  server.closeAllConnections()
  server.close()
  await once(server, 'close')
}

/** Serves discovery and keys, counts who asks for them, and signs whatever claims a test wants. */
export async function startIdentityProvider(path = '') {
  const key = await createSigningKey('key-1')
  const state = { keys: [key.jwk], discoveries: 0, keyFetches: 0, others: 0, metadata: {} }
  const behaviour: { discovery?: RequestListener | undefined; keys?: RequestListener | undefined } = {}
  const { origin, server } = await startServer((request, response) => {
    const json = (body: unknown) =>
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    if (request.url === `${path.replace(/\/$/, '')}/.well-known/openid-configuration`) {
      state.discoveries += 1
      if (behaviour.discovery) return behaviour.discovery(request, response)
      return json({ issuer, jwks_uri: `${origin}/keys`, ...state.metadata })
    }
    if (request.url === '/keys') {
      state.keyFetches += 1
      return behaviour.keys ? behaviour.keys(request, response) : json({ keys: state.keys })
    }
    state.others += 1
    return response.writeHead(404).end()
  })
  const issuer = `${origin}${path}`
  return {
    issuer,
    origin,
    key,
    state,
    behaviour,
    /** A token that is good unless `claims` or `header` say otherwise. */
    sign: (claims: JWTPayload = {}, header: Record<string, unknown> = {}, signer: SigningKey = key) =>
      new SignJWT({ iss: issuer, aud: 'mailwright', sub: 'hr-system', ...times(), ...claims })
        .setProtectedHeader({ alg: signer.alg, kid: signer.kid, typ: 'JWT', ...header })
        .sign(signer.privateKey),
    stop: () => stopServer(server),
  }
}

function times() {
  const now = Math.floor(Date.now() / 1000)
  return { iat: now, exp: now + 7200 }
}
