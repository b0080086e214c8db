import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { toShow } from '../accounts/new-password.ts'
import { sealedOf } from '../accounts/sealed-password.ts'
import { requireScope } from '../auth.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import { assertWhole, countably } from '../tokens/fuses.ts'
import { parseAddress } from './address.ts'
import { readCandidatesRequest } from './candidates.ts'
import {
  createMailbox,
  createsAccount,
  type MailboxRequest,
  type Provisioning,
  readMailboxRequest,
} from './create.ts'
import { MailboxCreate, placeOf } from './create-schemas.ts'
import { deleteMailbox, purgeMailbox } from './deletion.ts'
import { createFirstFree } from './first-free.ts'
import { MailboxDeleteQuery, MailboxParams } from './parameters.ts'
import { Mailbox, MailboxCreated, MailboxUpdate } from './schemas.ts'
import { updateSentOn } from './sending-on.ts'
import { getMailbox, parseMailboxKey } from './store.ts'
import { updateMailbox } from './update.ts'
import { assertMayLift, parseMailboxValues } from './values.ts'
import { toMailbox } from './view.ts'
import type { CreatedMailbox } from './write.ts'

/** What can stand against a create, by POST or by PUT. */
export const creationProblems = [
  'invalid-address',
  'invalid-name',
  'unknown-domain',
  'alias-domain',
  'role-name-refused',
  'password-required',
  'password-not-accepted',
  'password-too-weak',
  'sealing-key-private',
  'sealing-key-unsuitable',
  'authentication-unavailable',
  'unknown-account',
  'authentication-differs',
  'mailbox-exists',
  'mailbox-deleted',
  'alias-exists',
  'name-taken',
  'account-exists',
  'mailbox-limit-reached',
  'invalid-login-period',
  'forwarding-refused',
  'unknown-target',
] as const

function toCreated({ password }: Pick<MailboxRequest, 'password'>) {
  return (row: CreatedMailbox): Answer<MailboxCreated> => ({
    status: 201,
    version: row.version,
    location: `/v1/mailboxes/${row.address}`,
    body: { ...toMailbox(row), ...sealedOf(row) },
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
          'The answer has both logins, and they work at once. Nothing is half-made: a refused request leaves nothing behind. With `create_account: false` an existing account gets the mailbox (needs `accounts:write` and all domains). With `domain` and `name_candidates` in place of `address` the mailbox gets the first name that is free.',
        security: [{ bearer: ['mailboxes:write'] }],
        body: ref(MailboxCreate),
        response: {
          201: answer(MailboxCreated, 'Created, and deliverable now.', 'etag', 'location'),
          ...bodyProblemResponses('invalid-domain-name', 'fuse-blown', ...creationProblems),
        },
      },
    },
    async (request, reply) => {
      const { subject } = request
      const { place, body } = placeOf(request.body)
      if ('name_candidates' in place) {
        const wanted = readCandidatesRequest(subject, place, body)
        return answerOnce({ db, request, reply }, toCreated(wanted), (writer) =>
          createFirstFree(provisioning, { subject, request: wanted, writer }),
        )
      }
      const wanted = readMailboxRequest(subject, parseAddress(place.address), body)
      const createAccount = await createsAccount(db, subject, wanted)
      const creation = { subject, request: wanted, createAccount }
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
        summary: 'Change a mailbox: lock, unlock, quota, forwarding, refusal, hold',
        description:
          'JSON Merge Patch (RFC 7396). An edit that changes nothing leaves the ETag as it is. `hold` by itself reaches a deleted mailbox too; `"hold": false` needs `mailboxes:purge` besides, and to send mail on outside the domains of the installation `forwarding:write`.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        body: ref(MailboxUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Mailbox, 'The mailbox as it is now.', 'etag'),
          ...bodyProblemResponses(
            'mailbox-not-found',
            'precondition-failed',
            'invalid-address',
            'forwarding-refused',
            'unknown-target',
            'fuse-blown',
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
      const values = parseMailboxValues(request.body)
      assertMayLift(request.subject, values)
      const row = values.forward_to
        ? await db.transaction().execute((tx) => updateSentOn(tx, request.subject, target, values))
        : await countably(db, 'locks', (to) => updateMailbox(to, target, values))
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
          'Nobody can log in and mail is refused from now on; the mail and the name are kept until `purge_at` (`deleted_retention_days`), and so long it can be restored. `purge=true` removes it for good, with the old addresses that renames left to it. One on hold is not purged, neither so nor when its time is over, until the hold is lifted.',
        security: [{ bearer: ['mailboxes:write'] }],
        params: MailboxParams,
        headers: IfMatch,
        querystring: MailboxDeleteQuery,
        response: {
          204: noContent('Deleted.'),
          ...bodyProblemResponses('mailbox-not-found', 'precondition-failed', 'on-hold', 'fuse-blown'),
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
      await assertWhole(db, 'deletes')
      const accountGoes = limited || query.account === 'delete'
      if (query.purge) await db.transaction().execute((tx) => purgeMailbox(tx, target, accountGoes))
      else await countably(db, 'deletes', (to) => deleteMailbox(to, target, accountGoes))
      reply.code(204)
    },
  )
}
