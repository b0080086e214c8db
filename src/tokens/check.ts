import type { FastifyBaseLogger } from 'fastify'
import type { JWTPayload } from 'jose'
import type { Db } from '../database.ts'
import { type ProblemError, problem } from '../problems.ts'
import { deaf, listenForChanges } from './listener.ts'
import { createMemory } from './memory.ts'
import { findToken, readNotBefore, type StoredToken } from './store.ts'
import { recordUses } from './uses.ts'

/** Whether a token whose signature, issuer, audience and times are good is still wanted. */
export interface TokenCheck {
  /** For a token that POST /v1/tokens made gives its row. */
  admitOwn(claims: JWTPayload): Promise<StoredToken | undefined>
  /** For tokens of other issuers. */
  admitForeign(claims: JWTPayload): Promise<undefined>
  /** What is remembered may be wrong: who changed it here sees that at once, before it is heard. */
  forget(): void
  /** Until it remembers, or knows that it cannot. */
  ready(): Promise<void>
  close(): Promise<void>
}

export interface TokenCheckOptions {
  db: Db
  /** Where changes are heard; without it each request asks the tables. */
  databaseUrl?: string | undefined
  log: FastifyBaseLogger
}

const remembered = 10_000
const maxLooseSeconds = 24 * 3600

export function createTokenCheck({ db, databaseUrl, log }: TokenCheckOptions): TokenCheck {
  const tokens = createMemory<{ token: StoredToken | undefined }>(remembered)
  const settings = createMemory<{ notBefore: Date | null }>(1)
  const uses = recordUses(db, ({ message: reason }) =>
    log.warn({ reason }, 'the last use of tokens was not written; it is tried again'),
  )
  const forget = () => {
    tokens.forget()
    settings.forget()
  }
  const listener =
    databaseUrl === undefined
      ? deaf
      : listenForChanges(databaseUrl, forget, (reason) =>
          log.warn({ reason }, 'each request asks for its token until changes are heard again'),
        )

  async function admitForeign({ iat, ...claims }: JWTPayload): Promise<undefined> {
    const isCurrent = await listener.isCurrent()
    const { notBefore } = await settings.get('', isCurrent, () => readNotBefore(db))
    // A token that does not say when it was issued cannot be shown to be newer.
    if (notBefore && (iat ?? 0) * 1000 < notBefore.getTime()) throw refuse(tooOld, claims)
  }

  async function admitStored(claims: JWTPayload): Promise<StoredToken> {
    const id = String(claims.jti)
    const isCurrent = await listener.isCurrent()
    const { token } = await tokens.get(id, isCurrent, async () => ({ token: await findToken(db, id) }))
    if (token?.state !== 'active') throw refuse(token?.state === 'expired' ? expired : revoked, claims)
    uses.note(id)
    return token
  }

  return {
    async admitOwn(claims) {
      if (claims.revocable === true) return admitStored(claims)
      // Only what can be revoked may be valid for long, whoever signed it.
      if (claims.exp! - claims.iat! > maxLooseSeconds) throw refuse(tooLong, claims)
      return admitForeign(claims)
    },
    admitForeign,
    forget,
    ready: () => listener.started,
    async close() {
      await uses.close()
      await listener.close()
    },
  }
}

const revoked = 'The token is revoked. Get a new one from whoever made it.'
const expired = 'The token is expired. Get a new one.'
const tooOld =
  'The token was issued before the moment from which on tokens are accepted (`tokens_not_before` of the server). Get a new one.'
const tooLong = 'A token that is not made with POST /v1/tokens is valid for 24 hours at most.'

function refuse(detail: string, payload: JWTPayload): ProblemError {
  return problem('unauthenticated', { detail, cause: { payload } })
}
