import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import type { Db } from '../database.ts'
import type { DomainName } from '../domains/name.ts'
import { toServers } from '../mailboxes/credentials.ts'
import { problem } from '../problems.ts'
import { addressBudget } from '../rate-limits/addresses.ts'
import { responsesFor, texts } from '../responses.ts'
import { askedDomain } from './asked-domain.ts'
import { toAutoconfigXml } from './autoconfig.ts'
import { getServersOfDomain } from './domain-store.ts'

interface Options {
  db: Db
  /** How often an address may ask in a minute. */
  limit?: number | undefined
}

/** Where programs look (draft-ietf-mailmaint-autoconfig, "Mail provider"): on the host of the file, and on that of the domain. */
const places = [
  { path: '/mail/config-v1.1.xml', operationId: 'getAutoconfig' },
  { path: '/.well-known/autoconfig/mail/config-v1.1.xml', operationId: 'getWellKnownAutoconfig' },
]

const schema = {
  tags: ['mail programs'],
  summary: 'What mail programs set up an account of a domain with',
  description:
    'The XML that Thunderbird and others read (draft-ietf-mailmaint-autoconfig), for the clear-text login. It is the same for every address of a domain, whether that exists or not.',
  security: [],
  // other parameters pass: programs send what they like
  querystring: Type.Object({
    emailaddress: Type.Optional(
      Type.String({
        description:
          'Its domain alone counts. Without it the host name of the request does, less a leading `autoconfig.`.',
      }),
    ),
  }),
  response: {
    200: texts('The configuration.', ['text/xml']),
    ...responsesFor([
      'invalid-request',
      'configuration-not-found',
      'too-many-requests',
      'internal-error',
      'busy',
      'unavailable',
    ]),
  },
}

/** Without a token: a program cannot have one before it knows how to log in. */
export const autoconfig: FastifyPluginAsyncTypebox<Options> = async (app, { db, limit }) => {
  app.addHook('onRequest', async (_request, reply) => {
    // A cache that mixed up hosts or queries would send people's passwords to the servers of another domain; and it
    // would hold their addresses.
    reply.header('cache-control', 'no-store')
  })
  await app.register(addressBudget, { name: 'configurations', what: 'client configurations', limit })

  for (const { path, operationId } of places) {
    app.get(path, { schema: { ...schema, operationId } }, async ({ query, hostname }, reply) => {
      const domain = askedDomain({ address: query.emailaddress, host: hostname ?? '' })
      if (domain === undefined) throw problem('configuration-not-found')
      const xml = await describeDomain(db, domain)
      reply.type('text/xml; charset=utf-8')
      return xml
    })
  }
}

async function describeDomain(db: Db, domain: DomainName): Promise<string> {
  const facts = await getServersOfDomain(db, domain)
  if (facts.require_secure_password) throw problem('configuration-not-found')
  const servers = toServers(facts)
  return toAutoconfigXml({
    domain,
    servers,
    username: usernameIn(domain),
    authentication: ['password-cleartext'],
  })
}

/** A program puts in what was typed. Logins are known by A-labels, and somebody may have typed the U-labels. */
function usernameIn(domain: DomainName): string {
  return domain.includes('xn--') ? `%EMAILLOCALPART%@${domain}` : '%EMAILADDRESS%'
}
