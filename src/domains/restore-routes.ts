import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatch } from '../schemas.ts'
import { restoreDomain } from './restore.ts'
import { requested } from './routes.ts'
import { Domain, DomainParams } from './schemas.ts'
import { type DomainRow, toDomain } from './store.ts'

export const domainRestore: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/:domain/restore',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'restoreDomain',
        tags: ['domains'],
        summary: 'Restore a deleted domain with its mailboxes',
        description:
          'Only for callers with all domains. Brings back exactly the mailboxes that were deleted with the domain, and the accounts that went along with them: mail and logins work at once, with the passwords that they had, also where `mailbox_limit` is lower than their number. What had been deleted before the domain stays deleted. A domain that is not deleted is answered as it is, so that the call can be repeated.',
        security: [{ bearer: ['domains:write'] }],
        params: DomainParams,
        headers: IfMatch,
        response: {
          200: answer(Domain, 'The domain as it is now.', 'etag'),
          ...bodyProblemResponses('domain-not-found', 'precondition-failed'),
        },
      },
    },
    async (request, reply) => {
      const name = requested(request.subject, request.params.domain)
      const restore = { name, precondition: parseIfMatch(request) }
      return answerOnce({ db, request, reply }, toRestoredAnswer, async (writer) => {
        const restored = await writer.transaction((tx) => restoreDomain(tx, restore))
        return restored!
      })
    },
  )
}

function toRestoredAnswer({ row, mailboxCount }: { row: DomainRow; mailboxCount: number }): Answer<Domain> {
  return { status: 200, version: row.version, body: toDomain(row, mailboxCount, { domains: '*' }) }
}
