import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { IfMatch } from '../schemas.ts'
import { assertMayReset, resetToken } from './reset.ts'
import { Token, TokenParams } from './schemas.ts'
import { getToken, lookUpId, type TokenRow, toToken } from './store.ts'

export const tokenReset: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/:id/reset',
    {
      schema: {
        operationId: 'resetToken',
        tags: ['tokens'],
        summary: 'Let a token begin its day anew',
        description:
          'What it has used of its `limits` is forgotten, and `blown_fuses` is empty. Those of the tokens that it was made with stay as they are: each is reset by itself. A token resets neither itself nor one that it was made with (403 `insufficient-scope`).',
        security: [{ bearer: ['tokens:write'] }],
        params: TokenParams,
        headers: IfMatch,
        response: {
          200: answer(Token, 'The token as it is now.', 'etag'),
          ...bodyProblemResponses('token-not-found', 'precondition-failed'),
        },
      },
    },
    async (request, reply) => {
      const { subject } = request
      const reset = { id: lookUpId(request.params.id), subject, precondition: parseIfMatch(request) }
      await getToken(db, reset.id, subject.domains)
      assertMayReset(reset)
      return answerOnce({ db, request, reply }, toResetAnswer, async (writer) => {
        const row = await writer.transaction((tx) => resetToken(tx, reset))
        return row!
      })
    },
  )
}

function toResetAnswer(row: TokenRow): Answer<Token> {
  return { status: 200, version: row.version, body: toToken(row) }
}
