import type { FastifyRequest } from 'fastify'
import { isWithin, readAddress, toNetwork } from '../network.ts'
import { problem } from '../problems.ts'
import { logSecurityEvent } from '../security-events.ts'
import type { Subject } from '../subject.ts'

/** 401 and not 403: a thief is not told that the token would do elsewhere what was asked. */
export function requireAddress(request: FastifyRequest, { token, tokenId }: Subject): void {
  if (!token?.allowed_ips || isAmong(token.allowed_ips, request.ip)) return
  const message = 'a token was used from an address that it is not for'
  logSecurityEvent(request, 'wrong-address', message, { token_id: tokenId })
  throw problem('unauthenticated', {
    detail: 'The token is not for the address that the request comes from.',
    cause: { payload: { jti: tokenId } },
  })
}

function isAmong(networks: readonly string[], ip: string): boolean {
  const address = readAddress(ip)
  return address !== undefined && networks.some((network) => isWithin(address, toNetwork(network)))
}
