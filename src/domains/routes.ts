import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { mayTouch, requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { answerOnce } from '../idempotency/once.ts'
import { problem } from '../problems.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import type { Subject } from '../subject.ts'
import { assertWhole } from '../tokens/fuses.ts'
import { createDomain } from './create.ts'
import { deleteDomain } from './deletion.ts'
import { type DomainName, lookUpDomainName, parseDomainName } from './name.ts'
import { Domain, DomainCreate, DomainDeleteQuery, DomainParams, DomainUpdate } from './schemas.ts'
import { getDomain, toCreatedAnswer, toDomain, updateDomain } from './store.ts'
import { assertMayPostmaster, parseDomainValues } from './values.ts'

/** The domain that the path names; one outside the caller's domains answers like one that is not there. */
export function requested(subject: Subject, text: string): DomainName {
  const name = lookUpDomainName(text)
  if (!mayTouch(subject, name)) throw problem('domain-not-found')
  return name
}

/** What can stand against `alias_of`, of a new domain as of one that is there. */
const aliasOfProblems = ['unknown-domain', 'alias-domain', 'alias-loop', 'alias-limit-reached'] as const

export const domains: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'createDomain',
        tags: ['domains'],
        summary: 'Create a domain',
        description:
          'Only for callers with all domains. Setting `mail_server` needs `mailflow:write` besides.',
        security: [{ bearer: ['domains:write'] }],
        body: ref(DomainCreate),
        response: {
          201: answer(Domain, 'Created.', 'etag', 'location'),
          ...bodyProblemResponses(
            'invalid-domain-name',
            'invalid-address',
            'authentication-unavailable',
            'domain-exists',
            'domain-deleted',
            ...aliasOfProblems,
          ),
        },
      },
    },
    async (request, reply) => {
      const { name, ...values } = request.body
      const parsed = parseDomainValues(request.subject, values)
      const wanted = parseDomainName(name)
      return answerOnce({ db, request, reply }, toCreatedAnswer, (writer) =>
        createDomain(db, { name: wanted, values: parsed, writer }),
      )
    },
  )

  app.get(
    '/:domain',
    {
      schema: {
        operationId: 'getDomain',
        tags: ['domains'],
        summary: 'Get a domain',
        security: [{ bearer: ['domains:read'] }],
        params: DomainParams,
        response: { 200: answer(Domain, 'The domain.', 'etag'), ...problemResponses('domain-not-found') },
      },
    },
    async (request, reply) => {
      const { row, mailboxCount } = await getDomain(db, requested(request.subject, request.params.domain))
      setETag(reply, row.version)
      return toDomain(row, mailboxCount, request.subject)
    },
  )

  app.patch(
    '/:domain',
    {
      schema: {
        operationId: 'updateDomain',
        tags: ['domains'],
        summary: 'Change a domain',
        description:
          'JSON Merge Patch (RFC 7396). An edit that changes nothing leaves the ETag as it is. Callers limited to some domains may change `locked` and `postmaster_address`, which outside of their domains takes `forwarding:write`; `mail_server` needs `mailflow:write` besides.',
        security: [{ bearer: ['domains:write'] }],
        params: DomainParams,
        headers: IfMatch,
        body: ref(DomainUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Domain, 'The domain as it is now.', 'etag'),
          ...bodyProblemResponses(
            'domain-not-found',
            'precondition-failed',
            'invalid-domain-name',
            'invalid-address',
            'authentication-unavailable',
            'domain-has-addresses',
            'domain-has-alias-domains',
            'forwarding-refused',
            'fuse-blown',
            ...aliasOfProblems,
          ),
        },
      },
    },
    async (request, reply) => {
      const name = requested(request.subject, request.params.domain)
      const changes = parseDomainValues(request.subject, request.body)
      await assertMayPostmaster(db, request.subject, changes.postmaster_address)
      const change = { name, changes, precondition: parseIfMatch(request) }
      const { row, mailboxCount } = await db.transaction().execute((tx) => updateDomain(tx, change))
      setETag(reply, row.version)
      return toDomain(row, mailboxCount, request.subject)
    },
  )

  app.delete(
    '/:domain',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'deleteDomain',
        tags: ['domains'],
        summary: 'Delete a domain',
        description:
          'Only for callers with all domains. One without mailboxes is removed at once. One with active mailboxes is refused unless `mailboxes=delete&expect=<mailbox_count>` (which needs `mailboxes:write`): then they are deleted with it, restorable until `purge_at`, and its name is held as long. Its aliases go with it, and come back with the restore. One that others are aliases of is refused. While a mailbox of it is on hold, deleted ones too, nothing of it is deleted. When it is removed for good, the tokens that name it end.',
        security: [{ bearer: ['domains:write'] }],
        params: DomainParams,
        headers: IfMatch,
        querystring: DomainDeleteQuery,
        response: {
          204: noContent('Deleted.'),
          ...bodyProblemResponses(
            'domain-not-found',
            'domain-not-empty',
            'domain-has-alias-domains',
            'count-mismatch',
            'on-hold',
            'precondition-failed',
            'fuse-blown',
          ),
        },
      },
    },
    async (request, reply) => {
      const { subject, query } = request
      if (query.mailboxes) requireScope(subject, 'mailboxes:write')
      if (query.accounts === 'delete') requireScope(subject, 'accounts:write')
      if (query.purge) requireScope(subject, 'mailboxes:purge')
      await assertWhole(db, 'deletes')
      const deletion = {
        ...query,
        name: requested(subject, request.params.domain),
        precondition: parseIfMatch(request),
      }
      await db.transaction().execute((tx) => deleteDomain(tx, deletion))
      reply.code(204)
    },
  )
}
