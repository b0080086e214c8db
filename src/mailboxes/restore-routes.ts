import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatch } from '../schemas.ts'
import { MailboxParams } from './parameters.ts'
import { restoreMailbox } from './restore.ts'
import { Mailbox } from './schemas.ts'
import { assertMayName, parseMailboxKey } from './store.ts'
import { type MailboxRow, toMailbox } from './view.ts'

export const mailboxRestore: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/:mailbox/restore',
    {
      schema: {
        operationId: 'restoreMailbox',
        tags: ['mailboxes'],
        summary: 'Restore a deleted mailbox',
        description:
          'As long as it is not purged. Its mail is there, and mail and logins work at once, with the password that it had. An account that was deleted with it comes back; one that was kept stays as it is now. A mailbox that is not deleted is answered as it is, so that the call can be repeated. One whose domain is deleted comes back with the domain only.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        response: {
          200: answer(Mailbox, 'The mailbox as it is now.', 'etag'),
          ...bodyProblemResponses(
            'mailbox-not-found',
            'domain-deleted',
            'mailbox-limit-reached',
            'precondition-failed',
          ),
        },
      },
    },
    async (request, reply) => {
      const target = {
        key: parseMailboxKey(request.params.mailbox),
        visible: request.subject.domains,
        precondition: parseIfMatch(request),
      }
      await assertMayName(db, request.subject, target.key)
      return answerOnce({ db, request, reply }, toRestoredAnswer, async (writer) => {
        const restored = await writer.transaction((tx) => restoreMailbox(tx, target))
        return restored!
      })
    },
  )
}

function toRestoredAnswer(row: MailboxRow): Answer<Mailbox> {
  return { status: 200, version: row.version, body: toMailbox(row) }
}
