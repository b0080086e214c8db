import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { assertMayTakeName } from '../accounts/create.ts'
import { mayTouch, requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import { parseIfMatch } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatch, ref } from '../schemas.ts'
import { parseAddress } from './address.ts'
import { unknownDomain } from './ground.ts'
import { MailboxParams } from './parameters.ts'
import { explainLostRename, type Rename, renameMailbox } from './rename.ts'
import { Mailbox, MailboxRename } from './schemas.ts'
import { assertMayName, parseMailboxKey } from './store.ts'
import { type MailboxRow, toMailbox } from './view.ts'
import { isCollision } from './write.ts'

export const mailboxRename: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/:mailbox/rename',
    {
      schema: {
        operationId: 'renameMailbox',
        tags: ['mailboxes'],
        summary: 'Give a mailbox another address',
        description:
          'Another name, another domain, or both. Both logins change at once, and open sessions are ended; the mail, the `id` and the password stay, and whatever sends to the old address in your domains (aliases, `forward_to`, `postmaster_address`) sends to the new one. The old address goes on as an alias, and as long as it does nobody gets the old name. With `keep_old_as_alias: false`, or when that alias is deleted, the old name is free at once; both take the scope `mailboxes:purge` besides. An address that it has already is answered as it is. An alias that an earlier rename left gives way when the mailbox goes back.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        body: ref(MailboxRename),
        response: {
          200: answer(Mailbox, 'The mailbox as it is now.', 'etag'),
          ...bodyProblemResponses(
            'mailbox-not-found',
            'precondition-failed',
            'invalid-address',
            'invalid-name',
            'unknown-domain',
            'alias-domain',
            'role-name-refused',
            'mailbox-exists',
            'mailbox-deleted',
            'alias-exists',
            'name-taken',
            'account-exists',
            'mailbox-limit-reached',
            'fuse-blown',
          ),
        },
      },
    },
    async (request, reply) => {
      const { subject, body } = request
      const to = parseAddress(body.address)
      if (!mayTouch(subject, to.domain)) throw unknownDomain('/address')
      assertMayTakeName(subject, to.name, body.allow_role_name, '/address')
      const keepOld = body.keep_old_as_alias ?? true
      if (!keepOld) requireScope(subject, 'mailboxes:purge')
      const key = parseMailboxKey(request.params.mailbox)
      const target = { key, visible: subject.domains, precondition: parseIfMatch(request) }
      const rename: Rename = { subject, target, to, keepOld }
      await assertMayName(db, subject, key)
      return answerOnce({ db, request, reply }, toRenamedAnswer, async (writer) => {
        const renamed = await writer
          .transaction((tx) => renameMailbox(tx, rename))
          .catch((error) => (isCollision(error) ? explainLostRename(db, rename) : Promise.reject(error)))
        return renamed!
      })
    },
  )
}

function toRenamedAnswer(row: MailboxRow): Answer<Mailbox> {
  return { status: 200, version: row.version, body: toMailbox(row) }
}
