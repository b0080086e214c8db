import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { toShow } from '../accounts/new-password.ts'
import { sealedOf } from '../accounts/sealed-password.ts'
import { mustNotExist, parseIfMatch, setETag } from '../etag.ts'
import { problem } from '../problems.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatchOrNone, ref } from '../schemas.ts'
import { isMailboxId, parseAddress } from './address.ts'
import { type Provisioning, readMailboxRequest } from './create.ts'
import { MailboxEnsure } from './create-schemas.ts'
import { ensureMailbox } from './ensure.ts'
import { MailboxParams } from './parameters.ts'
import { creationProblems } from './routes.ts'
import { MailboxEnsured } from './schemas.ts'
import { assertMayLift } from './values.ts'
import { toMailbox } from './view.ts'

/** One that exists already is no problem here. */
const ensureProblems = creationProblems.filter((code) => code !== 'mailbox-exists')

export const mailboxEnsure: FastifyPluginAsyncTypebox<Provisioning> = async (app, provisioning) => {
  app.put(
    '/:mailbox',
    {
      schema: {
        operationId: 'ensureMailbox',
        tags: ['mailboxes'],
        summary: 'Create a mailbox, or give the existing one these values',
        description:
          'For jobs that run again and again: creates it (201), or sets the members that are sent to the values that are sent (200); members left out stay as they are, and an equal one changes nothing. It never changes a password. `If-None-Match: *` means create only. The path takes the address, not an id.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatchOrNone,
        body: ref(MailboxEnsure),
        response: {
          200: answer(MailboxEnsured, 'It was there, and is as asked now.', 'etag'),
          201: answer(MailboxEnsured, 'Created, and deliverable now.', 'etag', 'location'),
          ...bodyProblemResponses(
            'mailbox-not-found',
            'precondition-failed',
            'fuse-blown',
            ...ensureProblems,
          ),
        },
      },
    },
    async (request, reply) => {
      const { mailbox } = request.params
      if (isMailboxId(mailbox))
        throw problem('mailbox-not-found', { detail: 'PUT takes the address, not an id.' })
      const pointer = 'path/mailbox'
      const wanted = readMailboxRequest(
        request.subject,
        parseAddress(mailbox, pointer),
        request.body,
        pointer,
      )
      assertMayLift(request.subject, wanted.values)
      const preconditions = { ifMatch: parseIfMatch(request), mustNotExist: mustNotExist(request) }
      const { row, created } = await ensureMailbox(provisioning, request.subject, wanted, preconditions)
      setETag(reply, row.version)
      if (!created) return { ...toMailbox(row), password_applied: false }
      reply.code(201).header('location', `/v1/mailboxes/${row.address}`)
      const { password } = wanted
      const applied = password !== undefined && password !== 'none'
      return { ...toMailbox(row), password_applied: applied, ...toShow(password), ...sealedOf(row) }
    },
  )
}
