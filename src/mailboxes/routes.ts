import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { toShow } from '../accounts/new-password.ts'
import { requireScope } from '../auth.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import { parseAddress } from './address.ts'
import {
  createMailbox,
  createsAccount,
  type MailboxRequest,
  type Provisioning,
  readMailboxRequest,
} from './create.ts'
import { MailboxDeleteQuery, MailboxParams } from './parameters.ts'
import { Mailbox, MailboxCreate, MailboxCreated, MailboxUpdate } from './schemas.ts'
import { deleteMailbox, getMailbox, parseMailboxKey, purgeMailbox } from './store.ts'
import { updateMailbox } from './update.ts'
import { type MailboxRow, toMailbox } from './view.ts'

/** What can stand against a create, by POST or by PUT. */
export const creationProblems = [
  'invalid-address',
  'invalid-name',
  'unknown-domain',
  'role-name-refused',
  'password-required',
  'password-not-accepted',
  'password-too-weak',
  'authentication-unavailable',
  'unknown-account',
  'authentication-differs',
  'mailbox-exists',
  'mailbox-deleted',
  'alias-exists',
  'name-taken',
  'account-exists',
  'mailbox-limit-reached',
] as const

function toCreated({ password }: MailboxRequest) {
  return (row: MailboxRow): Answer<MailboxCreated> => ({
    status: 201,
    version: row.version,
    location: `/v1/mailboxes/${row.address}`,
    body: toMailbox(row),
    secret: toShow(password),
  })
}

export const mailboxes: FastifyPluginAsyncTypebox<Provisioning> = async (app, provisioning) => {
  const { db } = provisioning

  app.post(
    '',
    {
      schema: {
        operationId: 'createMailbox',
        tags: ['mailboxes'],
        summary: 'Create a mailbox, by default with its account',
        description:
          'The answer has both logins, and they work at once. Nothing is half-made: a refused request leaves nothing behind. With `create_account: false` an existing account gets the mailbox (needs `accounts:write` and all domains).',
        security: [{ bearer: ['mailboxes:write'] }],
        body: ref(MailboxCreate),
        response: {
          201: answer(MailboxCreated, 'Created, and deliverable now.', 'etag', 'location'),
          ...bodyProblemResponses(...creationProblems),
        },
      },
    },
    async (request, reply) => {
      const { address, ...body } = request.body
      const wanted = readMailboxRequest(request.subject, parseAddress(address), body)
      const createAccount = await createsAccount(db, request.subject, wanted)
      const creation = { subject: request.subject, request: wanted, createAccount }
      return answerOnce({ db, request, reply }, toCreated(wanted), (writer) =>
        createMailbox(provisioning, { ...creation, writer }),
      )
    },
  )

  app.get(
    '/:mailbox',
    {
      schema: {
        operationId: 'getMailbox',
        tags: ['mailboxes'],
        summary: 'Get a mailbox by its address or id',
        security: [{ bearer: ['mailboxes:read'] }],
        params: MailboxParams,
        response: { 200: answer(Mailbox, 'The mailbox.', 'etag'), ...problemResponses('mailbox-not-found') },
      },
    },
    async (request, reply) => {
      const key = parseMailboxKey(request.params.mailbox)
      const row = await getMailbox(db, { key, visible: request.subject.domains })
      setETag(reply, row.version)
      return toMailbox(row)
    },
  )

  app.patch(
    '/:mailbox',
    {
      schema: {
        operationId: 'updateMailbox',
        tags: ['mailboxes'],
        summary: 'Change a mailbox: lock, unlock, quota',
        description: 'JSON Merge Patch (RFC 7396). An edit that changes nothing leaves the ETag as it is.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        body: ref(MailboxUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Mailbox, 'The mailbox as it is now.', 'etag'),
          ...bodyProblemResponses('mailbox-not-found', 'precondition-failed'),
        },
      },
    },
    async (request, reply) => {
      const target = {
        key: parseMailboxKey(request.params.mailbox),
        visible: request.subject.domains,
        precondition: parseIfMatch(request),
      }
      const row = await updateMailbox(db, target, request.body)
      setETag(reply, row.version)
      return toMailbox(row)
    },
  )

  app.delete(
    '/:mailbox',
    {
      schema: {
        operationId: 'deleteMailbox',
        tags: ['mailboxes'],
        summary: 'Delete a mailbox',
        description:
          'Nobody can log in and mail is refused from now on; the mail and the name are kept until `purge_at` (`deleted_retention_days`), and so long it can be restored. `purge=true` removes it for good.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        querystring: MailboxDeleteQuery,
        response: {
          204: noContent('Deleted.'),
          ...bodyProblemResponses('mailbox-not-found', 'precondition-failed'),
        },
      },
    },
    async (request, reply) => {
      const { subject, query } = request
      const limited = subject.domains !== '*'
      if (query.purge) requireScope(subject, 'mailboxes:purge')
      if (query.account === 'delete' && !limited) requireScope(subject, 'accounts:write')
      const target = {
        key: parseMailboxKey(request.params.mailbox),
        visible: subject.domains,
        precondition: parseIfMatch(request),
      }
      const accountGoes = limited || query.account === 'delete'
      if (query.purge) await db.transaction().execute((tx) => purgeMailbox(tx, target, accountGoes))
      else await deleteMailbox(db, target, accountGoes)
      reply.code(204)
    },
  )
}
