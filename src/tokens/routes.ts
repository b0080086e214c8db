import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Db } from '../database.ts'
import { parseIfMatch, setETag } from '../etag.ts'
import { type Answer, answerOnce } from '../idempotency/once.ts'
import type { InstallationKeys } from '../keys.ts'
import { linkNext, parseCursor, toPage } from '../pagination.ts'
import { problemAt } from '../problems.ts'
import { answer, bodyProblemResponses, noContent, problemResponses } from '../responses.ts'
import { IfMatch, ref } from '../schemas.ts'
import type { TokenCheck } from './check.ts'
import { createToken, type MadeToken, parseNewToken } from './create.ts'
import { isWithinDomains } from './rights.ts'
import { Token, TokenCreate, TokenCreated, TokenList, TokenListQuery, TokenParams } from './schemas.ts'
import {
  getToken,
  isTokenId,
  listTokens,
  lookUpId,
  revokeToken,
  type TokenFilter,
  type TokenRow,
  toToken,
} from './store.ts'

export interface TokenOptions {
  db: Db
  keys: InstallationKeys
  check: Pick<TokenCheck, 'forget'>
}

export const tokens: FastifyPluginAsyncTypebox<TokenOptions> = async (app, { db, keys, check }) => {
  app.post(
    '',
    {
      schema: {
        operationId: 'createToken',
        tags: ['tokens'],
        summary: 'Make a token',
        description:
          'The token is in this answer only. It never allows more than yours: a scope that you lack is 403 `insufficient-scope`, a domain that is not yours 422 `unknown-domain`. Your rights are judged now. A token that is made with such a token ends with it, be it by expiry or by revocation.',
        security: [{ bearer: ['tokens:write'] }],
        body: ref(TokenCreate),
        response: {
          201: answer(TokenCreated, 'Made.', 'etag', 'location'),
          ...bodyProblemResponses('invalid-domain-name', 'invalid-network', 'unknown-domain'),
        },
      },
    },
    async (request, reply) => {
      const { subject } = request
      const wanted = parseNewToken(subject, request.body)
      // without `domains` the same request asks for something else with each token of a subject
      const maySee = (body: object) => 'domains' in body && isWithinDomains(subject, body.domains as string[])
      return answerOnce({ db, request, reply, maySee }, toCreated, (writer) =>
        createToken({ db, keys }, wanted, writer),
      )
    },
  )

  app.get(
    '',
    {
      schema: {
        operationId: 'listTokens',
        tags: ['tokens'],
        summary: 'List tokens',
        description:
          'Those that `POST /v1/tokens` made, the oldest first. A limited caller sees those whose domains are all its own.',
        security: [{ bearer: ['tokens:write'] }],
        querystring: TokenListQuery,
        response: { 200: answer(TokenList, 'A page.', 'link'), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { cursor, ...options } = request.query
      const filter = { ...options, visible: request.subject.domains, after: parseAfter(cursor) }
      const page = toPage(await listTokens(db, filter), options.limit, keyOf)
      linkNext(request, reply, page.next)
      return { items: page.items.map(toToken), next: page.next }
    },
  )

  app.get(
    '/:id',
    {
      schema: {
        operationId: 'getToken',
        tags: ['tokens'],
        summary: 'Get a token',
        description: 'What it allows, not the token itself.',
        security: [{ bearer: ['tokens:write'] }],
        params: TokenParams,
        response: { 200: answer(Token, 'The token.', 'etag'), ...problemResponses('token-not-found') },
      },
    },
    async (request, reply) => {
      const row = await getToken(db, lookUpId(request.params.id), request.subject.domains)
      setETag(reply, row.version)
      return toToken(row)
    },
  )

  app.delete(
    '/:id',
    {
      schema: {
        operationId: 'deleteToken',
        tags: ['tokens'],
        summary: 'Revoke a token',
        description:
          'For good, with all that were made with it; every replica refuses them within a second. It is listed with `state=revoked` from then on. Doing it again changes nothing.',
        security: [{ bearer: ['tokens:write'] }],
        params: TokenParams,
        headers: IfMatch,
        response: {
          204: noContent('Revoked.'),
          ...bodyProblemResponses('token-not-found', 'precondition-failed'),
        },
      },
    },
    async (request, reply) => {
      const revocation = {
        id: lookUpId(request.params.id),
        visible: request.subject.domains,
        precondition: parseIfMatch(request),
      }
      await db.transaction().execute((tx) => revokeToken(tx, revocation))
      check.forget()
      reply.code(204)
    },
  )
}

function toCreated({ row, token }: MadeToken): Answer<TokenCreated> {
  return {
    status: 201,
    version: row.version,
    location: `/v1/tokens/${row.id}`,
    body: toToken(row),
    secret: { token },
  }
}

function keyOf({ created_at, id }: TokenRow): string {
  return `${created_at.toISOString()} ${id}`
}

function parseAfter(cursor: string | undefined): TokenFilter['after'] {
  const after = parseCursor(cursor)?.after
  if (after === undefined) return undefined
  const [time = '', id = ''] = after.split(' ')
  if (/^\d{4}-[\d:.T-]+Z$/.test(time) && !Number.isNaN(Date.parse(time)) && isTokenId(id))
    return { createdAt: new Date(time), id }
  throw problemAt('invalid-request', 'query/cursor', 'is not a cursor that this service gave out')
}
