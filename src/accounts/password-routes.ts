import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { parseIfMatch, setETag } from '../etag.ts'
import { answer, bodyProblemResponses, noContent } from '../responses.ts'
import { IfMatch, ref } from '../schemas.ts'
import { lookUpName } from './name.ts'
import { assertMayDeliver, deriveFor, readNewPassword, requirePassword, toShow } from './new-password.ts'
import { lookUpPasswordGround, type PasswordGround, setPassword } from './password-store.ts'
import type { AccountOptions } from './routes.ts'
import { AccountParams, PasswordGenerated, PasswordSet } from './schemas.ts'
import { sealFor } from './sealed-password.ts'

export const passwords: FastifyPluginAsyncTypebox<AccountOptions> = async (app, { db, derivations }) => {
  app.put(
    '/:account/password',
    {
      schema: {
        operationId: 'setPassword',
        tags: ['accounts'],
        summary: 'Set the password of an account',
        description:
          'Takes no old password. Also for a locked mailbox or a disabled account. 204 for `password`, 200 with it, in clear or sealed, for `generate_password: true`. The sessions that are open then are ended, and once more what is open a second or two later, since a login with the old one may be on its way: a session that begins in that time, with the new password, may be ended too.',
        security: [{ bearer: ['passwords:write'] }],
        params: AccountParams,
        headers: IfMatch,
        body: ref(PasswordSet),
        response: {
          200: answer(
            PasswordGenerated,
            'Set; the password that was made is shown here once, or sealed.',
            'etag',
          ),
          204: noContent('Set.', 'etag'),
          ...bodyProblemResponses(
            'account-not-found',
            'password-required',
            'password-not-accepted',
            'password-too-weak',
            'sealing-key-private',
            'sealing-key-unsuitable',
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
      assertMayDeliver(request.subject, request.body)
      const password = requirePassword(readNewPassword(request.body))
      const lookUp = (before?: PasswordGround) => lookUpPasswordGround(db, target, before)
      const { prepared, verifiers } = await deriveFor(derivations, password, lookUp)
      const sealed = await sealFor(password, prepared.address)
      const version = await db.transaction().execute((tx) => setPassword(tx, target, prepared, verifiers))
      setETag(reply, version)
      if (password.generated) return { ...toShow(password), ...sealed }
      reply.code(204)
    },
  )
}
