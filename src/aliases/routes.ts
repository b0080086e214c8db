import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import { assertWhole } from '../tokens/fuses.ts'
import { lookUpAliasAddress, parseAliasAddress } from './address.ts'
import { assertMayRedirect, deleteAlias, updateAlias } from './change.ts'
import { assertMaySendAs, assertMayTakeAddress, createAlias } from './create.ts'
import { Alias, AliasCreate, AliasParams, AliasUpdate } from './schemas.ts'
import { type AliasRow, getAlias, toAlias } from './store.ts'
import { findForwarded, parseTargets } from './targets.ts'

/** What can stand against the targets and `send_as`. */
const targetProblems = [
  'invalid-address',
  'unknown-target',
  'forwarding-refused',
  'send-as-refused',
  'alias-loop',
  'alias-limit-reached',
] as const

function toCreated(row: AliasRow): Answer<Alias> {
  return {
    status: 201,
    version: row.version,
    location: `/v1/aliases/${row.address}`,
    body: toAlias(row),
  }
}

export const aliases: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '',
    {
      schema: {
        operationId: 'createAlias',
        tags: ['aliases'],
        summary: 'Create an alias, or the catch-all of a domain',
        description:
          'Mail to the address goes to all targets from now on. An address is a mailbox or an alias, never both; but the name of an alias is nobody’s login, so every domain may have an alias of the same name.',
        security: [{ bearer: ['aliases:write'] }],
        body: ref(AliasCreate),
        response: {
          201: answer(Alias, 'Created.', 'etag', 'location'),
          ...bodyProblemResponses(
            ...targetProblems,
            'invalid-name',
            'unknown-domain',
            'alias-domain',
            'role-name-refused',
            'mailbox-exists',
            'mailbox-deleted',
            'alias-exists',
          ),
        },
      },
    },
    async (request, reply) => {
      const { subject, body } = request
      const address = parseAliasAddress(body.address)
      const targets = parseTargets(body.targets)
      assertMayTakeAddress(subject, address, body.allow_role_name)
      assertMaySendAs(address, body.send_as)
      const forwarded = await findForwarded(db, subject, targets)
      const alias = { address, targets, forwarded, send_as: body.send_as ?? false }
      return answerOnce({ db, request, reply }, toCreated, (writer) =>
        createAlias(db, { subject, alias, writer }),
      )
    },
  )

  app.get(
    '/:address',
    {
      schema: {
        operationId: 'getAlias',
        tags: ['aliases'],
        summary: 'Get an alias',
        security: [{ bearer: ['aliases:read'] }],
        params: AliasParams,
        response: { 200: answer(Alias, 'The alias.', 'etag'), ...problemResponses('alias-not-found') },
      },
    },
    async (request, reply) => {
      const address = lookUpAliasAddress(request.params.address)
      const row = await getAlias(db, { address, visible: request.subject.domains })
      setETag(reply, row.version)
      return toAlias(row)
    },
  )

  app.patch(
    '/:address',
    {
      schema: {
        operationId: 'updateAlias',
        tags: ['aliases'],
        summary: 'Change where the mail of an alias goes, and who sends as it',
        description:
          'JSON Merge Patch (RFC 7396). Targets that it has already are not judged anew. The targets of a role name and of a catch-all need `names:reserved` besides. An edit that changes nothing leaves the ETag as it is.',
        security: [{ bearer: ['aliases:write'] }],
        params: AliasParams,
        headers: IfMatch,
        body: ref(AliasUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Alias, 'The alias as it is now.', 'etag'),
          ...bodyProblemResponses('alias-not-found', 'precondition-failed', ...targetProblems),
        },
      },
    },
    async (request, reply) => {
      const { subject, body, params } = request
      const address = lookUpAliasAddress(params.address)
      const changes = { ...body, ...(body.targets && { targets: parseTargets(body.targets) }) }
      assertMayRedirect(subject, address, changes)
      assertMaySendAs(address, body.send_as)
      const write = { subject, address, precondition: parseIfMatch(request) }
      const row = await db.transaction().execute((tx) => updateAlias(tx, write, changes))
      setETag(reply, row.version)
      return toAlias(row)
    },
  )

  app.delete(
    '/:address',
    {
      schema: {
        operationId: 'deleteAlias',
        tags: ['aliases'],
        summary: 'Delete an alias',
        description:
          'Mail to the address is refused from now on (550), or goes to the catch-all of the domain. Where the alias holds the name of a renamed mailbox, the name is free with it; that needs `mailboxes:purge` besides.',
        security: [{ bearer: ['aliases:write'] }],
        params: AliasParams,
        headers: IfMatch,
        response: {
          204: noContent('Deleted.'),
          ...bodyProblemResponses('alias-not-found', 'precondition-failed', 'fuse-blown'),
        },
      },
    },
    async (request, reply) => {
      const { subject, params } = request
      const address = lookUpAliasAddress(params.address)
      const write = { subject, address, precondition: parseIfMatch(request) }
      await assertWhole(db, 'deletes')
      await db.transaction().execute((tx) => deleteAlias(tx, write))
      reply.code(204)
    },
  )
}
