import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { assertAvailable } from '../accounts/authentication.ts'
import { inOrder } from '../accounts/verifiers.ts'
import { requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import { parseHostName } from '../domains/host-name.ts'
import { type DomainName, parseDomainName } from '../domains/name.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { parseDestination } from '../mailboxes/address.ts'
import { parseMoment } from '../moments.ts'
import { problemAt } from '../problems.ts'
import { answer, bodyProblemResponses, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import type { Subject } from '../subject.ts'
import type { TokenCheck } from '../tokens/check.ts'
import { parseRelayNetworks } from './relay-networks.ts'
import { Server, ServerUpdate } from './schemas.ts'
import { createStatistics } from './statistics.ts'
import { getSettings, type SettingsChange, toServer, updateSettings } from './store.ts'

export interface ServerOptions {
  db: Db
  check: Pick<TokenCheck, 'forget'>
}

export const server: FastifyPluginAsyncTypebox<ServerOptions> = async (app, { db, check }) => {
  const statistics = createStatistics(db)

  app.get(
    '',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'getServer',
        tags: ['server'],
        summary: 'Get the settings and statistics of the installation',
        description: 'Only for callers with all domains.',
        security: [{ bearer: ['server:read'] }],
        response: { 200: answer(Server, 'Settings and statistics.', 'etag'), ...problemResponses() },
      },
    },
    async (_request, reply) => {
      const settings = await getSettings(db)
      setETag(reply, settings.version)
      return toServer(settings, await statistics())
    },
  )

  app.patch(
    '',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'updateServer',
        tags: ['server'],
        summary: 'Change settings of the installation',
        description:
          'JSON Merge Patch (RFC 7396). Only for callers with all domains; `mail_server`, `relay_networks` and `forward_allowed_domains` need `mailflow:write` besides.',
        security: [{ bearer: ['server:write'] }],
        headers: IfMatch,
        body: ref(ServerUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Server, 'Settings as they are now.', 'etag'),
          ...bodyProblemResponses(
            'precondition-failed',
            'invalid-domain-name',
            'invalid-address',
            'invalid-network',
            'authentication-unavailable',
          ),
        },
      },
    },
    async (request, reply) => {
      const changes = parseSettings(request.subject, request.body, new Date())
      const change = { changes, precondition: parseIfMatch(request) }
      const settings = await db.transaction().execute((tx) => updateSettings(tx, change))
      if (changes.tokens_not_before !== undefined) check.forget()
      setETag(reply, settings.version)
      return toServer(settings, await statistics())
    },
  )
}

/** Members that decide where mail goes. */
const ofMailFlow = ['mail_server', 'relay_networks', 'forward_allowed_domains'] as const

function parseDomains(texts: readonly string[]): DomainName[] {
  return [...new Set(texts.map((text, i) => parseDomainName(text, `/forward_allowed_domains/${i}`)))]
}

function parseSettings(subject: Subject, body: ServerUpdate, now: Date): SettingsChange['changes'] {
  const { tokens_not_before, forward_allowed_domains, ...rest } = body
  const { mail_server, postmaster_address, relay_networks, secure_password_mechanisms } = rest
  if (ofMailFlow.some((member) => body[member] !== undefined)) requireScope(subject, 'mailflow:write')
  assertAvailable(body.authentication)
  return {
    ...rest,
    ...(mail_server !== undefined && { mail_server: parseHostName(mail_server, '/mail_server') }),
    ...(secure_password_mechanisms && { secure_password_mechanisms: inOrder(secure_password_mechanisms) }),
    ...(relay_networks !== undefined && { relay_networks: parseRelayNetworks(relay_networks) }),
    ...(forward_allowed_domains !== undefined && {
      forward_allowed_domains: forward_allowed_domains && parseDomains(forward_allowed_domains),
    }),
    ...(typeof postmaster_address === 'string' && {
      postmaster_address: parseDestination(postmaster_address, '/postmaster_address'),
    }),
    ...(tokens_not_before !== undefined && { tokens_not_before: parseNotBefore(tokens_not_before, now) }),
  }
}

/** A moment to come would lock out whoever sets it, and everybody else, until then. */
function parseNotBefore(text: string | null, now: Date): Date | null {
  if (text === null) return null
  const moment = parseMoment(text, '/tokens_not_before')
  if (moment <= now) return moment
  const detail = `must not be in the future; it is ${now.toISOString()} here`
  throw problemAt('invalid-request', '/tokens_not_before', detail)
}
