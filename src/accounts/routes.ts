import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { problemOnViolation } from '../problem-details.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, mergePatchTypes, ref } from '../schemas.ts'
import { assertWhole } from '../tokens/fuses.ts'
import type { WorkQueue } from '../work-queue.ts'
import { assertMayTakeName, type CreatedAccount, createAccount, parsePersonMembers } from './create.ts'
import { lookUpName, parseName } from './name.ts'
import {
  assertMayDeliver,
  type NewPassword,
  readFirstPassword,
  requirePassword,
  toShow,
} from './new-password.ts'
import { Account, AccountCreate, AccountCreated, AccountParams, AccountUpdate } from './schemas.ts'
import { deleteAccount, getAccount, toAccount, updateAccount } from './store.ts'

export interface AccountOptions {
  db: Db
  derivations: WorkQueue
}

function toCreated(password: NewPassword | 'none') {
  return ({ sealed_password, ...row }: CreatedAccount): Answer<AccountCreated> => ({
    status: 201,
    version: row.version,
    location: `/v1/accounts/${row.name}`,
    body: { ...toAccount(row), ...(sealed_password !== undefined && { sealed_password }) },
    secret: toShow(password),
  })
}

export const accounts: FastifyPluginAsyncTypebox<AccountOptions> = async (app, { db, derivations }) => {
  app.post(
    '',
    {
      config: { allDomains: true },
      schema: {
        operationId: 'createAccount',
        tags: ['accounts'],
        summary: 'Create an account without a mailbox',
        description:
          'Only for callers with all domains. Give it a mailbox later with `create_account: false`. Most callers want `POST /v1/mailboxes`, which makes both at once.',
        security: [{ bearer: ['accounts:write'] }],
        body: ref(AccountCreate),
        response: {
          201: answer(AccountCreated, 'Created.', 'etag', 'location'),
          ...bodyProblemResponses(
            'invalid-name',
            'invalid-login-period',
            'role-name-refused',
            'password-required',
            'password-not-accepted',
            'password-too-weak',
            'sealing-key-private',
            'sealing-key-unsuitable',
            'authentication-unavailable',
            'account-exists',
            'mailbox-deleted',
            'name-taken',
          ),
        },
      },
    },
    async (request, reply) => {
      const { body, subject } = request
      const name = parseName(body.name)
      assertMayTakeName(subject, name, body.allow_role_name)
      assertMayDeliver(subject, body)
      const password = requirePassword(readFirstPassword(body))
      const person = parsePersonMembers(body, '')
      const { authentication } = body
      const wanted = { name, password, authentication, ...person }
      return answerOnce({ db, request, reply }, toCreated(password), (writer) =>
        createAccount({ db, derivations }, wanted, writer),
      )
    },
  )

  app.get(
    '/:account',
    {
      schema: {
        operationId: 'getAccount',
        tags: ['accounts'],
        summary: 'Get an account',
        security: [{ bearer: ['accounts:read'] }],
        params: AccountParams,
        response: { 200: answer(Account, 'The account.', 'etag'), ...problemResponses('account-not-found') },
      },
    },
    async (request, reply) => {
      const row = await getAccount(db, lookUpName(request.params.account), request.subject.domains)
      setETag(reply, row.version)
      return toAccount(row)
    },
  )

  app.patch(
    '/:account',
    {
      schema: {
        operationId: 'updateAccount',
        tags: ['accounts'],
        summary: 'Change an account',
        description: 'JSON Merge Patch (RFC 7396). An edit that changes nothing leaves the ETag as it is.',
        security: [{ bearer: ['accounts:write'] }],
        params: AccountParams,
        headers: IfMatch,
        body: ref(AccountUpdate),
        consumes: mergePatchTypes,
        response: {
          200: answer(Account, 'The account as it is now.', 'etag'),
          ...bodyProblemResponses(
            'account-not-found',
            'precondition-failed',
            'invalid-login-period',
            'fuse-blown',
          ),
        },
      },
    },
    async (request, reply) => {
      const { disabled } = request.body
      const change = {
        name: lookUpName(request.params.account),
        visible: request.subject.domains,
        changes: { ...(disabled !== undefined && { disabled }), ...parsePersonMembers(request.body, '') },
        precondition: parseIfMatch(request),
      }
      const row = await db.transaction().execute((tx) => updateAccount(tx, change))
      setETag(reply, row.version)
      return toAccount(row)
    },
  )

  app.delete(
    '/:account',
    {
      schema: {
        operationId: 'deleteAccount',
        tags: ['accounts'],
        summary: 'Delete an account without a mailbox',
        description:
          'At once and for good. With a mailbox in any state it is refused: delete that, with `account=delete`.',
        security: [{ bearer: ['accounts:write'] }],
        params: AccountParams,
        headers: IfMatch,
        response: {
          204: noContent('Deleted.'),
          ...bodyProblemResponses(
            'account-not-found',
            'account-has-mailbox',
            'precondition-failed',
            'fuse-blown',
          ),
        },
      },
    },
    async (request, reply) => {
      const target = {
        name: lookUpName(request.params.account),
        visible: request.subject.domains,
        precondition: parseIfMatch(request),
      }
      await assertWhole(db, 'deletes')
      const deletion = db.transaction().execute((tx) => deleteAccount(tx, target))
      // checked at commit: a mailbox was made for it in the meantime
      await problemOnViolation(deletion, { mailboxes_account_fkey: 'account-has-mailbox' })
      reply.code(204)
    },
  )
}
