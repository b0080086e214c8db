import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { problem } from '../problems.ts'
import { answer, bodyProblemResponses } from '../responses.ts'
import { ref } from '../schemas.ts'
import { logSecurityEvent, securityEvents } from '../security-events.ts'
import { fitsArgon2id } from './argon2id-check.ts'
import { lookUpName } from './name.ts'
import {
  type CheckTarget,
  checksInARow,
  digestOf,
  findVerifier,
  giveBack,
  takeAttempt,
} from './password-check-store.ts'
import type { AccountOptions } from './routes.ts'
import { AccountParams, PasswordCheck, PasswordChecked } from './schemas.ts'

export const passwordChecks: FastifyPluginAsyncTypebox<AccountOptions> = async (app, options) => {
  app.post(
    '/:account/password/check',
    {
      config: { idempotencyKey: false },
      schema: {
        operationId: 'checkPassword',
        tags: ['accounts'],
        summary: 'Ask whether a password is the right one',
        description: `Says nothing else: an account that is not there, is not yours or has no password answers like a wrong password, and takes as long. It is about the password alone: a lock or a disabled account does not make it invalid. After ${checksInARow} failed checks of one account (those under way count) it is 429; one more is let in each minute.`,
        security: [{ bearer: ['passwords:check'] }],
        params: AccountParams,
        body: ref(PasswordCheck),
        response: {
          200: answer(PasswordChecked, 'Whether it is.'),
          ...bodyProblemResponses('account-not-found', 'too-many-requests'),
        },
      },
    },
    async (request) => {
      const name = lookUpName(request.params.account)
      const target = { name, visible: request.subject.domains }
      return { valid: await check(options, target, request.body.password, request) }
    },
  )
}

async function check(
  { db, derivations }: AccountOptions,
  target: CheckTarget,
  password: string,
  request: FastifyRequest,
): Promise<boolean> {
  const attempt = await takeAttempt(db, target)
  if (!attempt.taken) {
    logCheck(request, target, 'password-check-throttled')
    throw tooMany(attempt.retry_after_seconds)
  }
  const derivation = derivations.run(async ({ waited }) =>
    fitsArgon2id(password, waited ? await findVerifier(db, target) : attempt.verifier),
  )
  const valid = await derivation.catch(async (error: unknown) => {
    await giveBack(db, target, attempt)
    throw error
  })
  if (valid) await giveBack(db, target, attempt)
  else logCheck(request, target, 'password-check-failed')
  return valid
}

function tooMany(retryAfterSeconds: number): Error {
  const detail = `Too many checks of this account have failed. Try again after ${retryAfterSeconds} seconds.`
  return problem('too-many-requests', { detail, retryAfterSeconds })
}

/** Somebody may be guessing. The name may be a password in the wrong place, so only its digest is written. */
function logCheck(
  request: FastifyRequest,
  { name }: CheckTarget,
  event: 'password-check-failed' | 'password-check-throttled',
): void {
  const members = { account_sha256: digestOf(name).toString('hex') }
  logSecurityEvent(request, event, securityEvents[event], members)
}
