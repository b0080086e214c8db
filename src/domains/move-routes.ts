import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import { parseIfMatch } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatch, ref } from '../schemas.ts'
import { type Moved, moveDomain } from './move.ts'
import { DomainMove, DomainMoved } from './move-schemas.ts'
import { parseDomainName } from './name.ts'
import { requested } from './routes.ts'
import { DomainParams } from './schemas.ts'

export const domainMove: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/:domain/move',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'moveDomain',
        tags: ['domains'],
        summary: 'Move all addresses of a domain to another',
        description:
          'Only for callers with all domains. All mailboxes, deleted ones and those on hold too, and all aliases, or, where it is refused, none. The mail, the `id`, the password and the bare login of each mailbox stay, its full address changes, and open sessions are ended; what the domain decides (lock, quota, mechanisms, mail server) is what the new one says. Whatever sends to the old addresses, in all domains, sends to the new ones, and alias domains of the old domain are of the new one. An alias that did nothing but send to the address of the same name in the other domain gives way. A move that is done already is answered with zeros, so that the call can be repeated. The `ETag` is the version of the domain in the path.',
        security: [{ bearer: ['domains:write', 'mailboxes:write'] }],
        params: DomainParams,
        headers: IfMatch,
        body: ref(DomainMove),
        response: {
          200: answer(DomainMoved, 'Moved.', 'etag'),
          ...bodyProblemResponses(
            'domain-not-found',
            'precondition-failed',
            'invalid-domain-name',
            'unknown-domain',
            'alias-domain',
            'invalid-address',
            'role-name-refused',
            'addresses-taken',
            'mailbox-limit-reached',
            'alias-loop',
            'alias-limit-reached',
            'fuse-blown',
          ),
        },
      },
    },
    async (request, reply) => {
      const { subject, body } = request
      const { keep_old_as_alias: keepOld = true, allow_role_name: allowRoleNames = false } = body
      if (!keepOld) requireScope(subject, 'mailboxes:purge')
      if (allowRoleNames) requireScope(subject, 'names:reserved')
      const from = requested(subject, request.params.domain)
      const to = parseDomainName(body.to, '/to')
      const move = { from, to, keepOld, allowRoleNames, precondition: parseIfMatch(request) }
      return answerOnce({ db, request, reply }, toMovedAnswer, async (writer) => {
        const moved = await writer.transaction((tx) => moveDomain(tx, move))
        return moved!
      })
    },
  )
}

function toMovedAnswer({ version, ...body }: Moved): Answer<DomainMoved> {
  return { status: 200, version, body }
}
