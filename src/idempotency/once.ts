import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Db, Tx } from '../database.ts'
import { againAfterDeadlock } from '../deadlock.ts'
import { setETag, toETag } from '../etag.ts'
import { ProblemError, problem } from '../problems.ts'
import type { IdempotencyKey } from './key.ts'
import { assertKeyFree, findAnswer, insertAnswer, type KeptAnswer, lockKey } from './store.ts'

/** What the service made and shows once. */
export type Secret = { generated_password: string } | { token: string }

/** What a request that changes something is answered with. */
export interface Answer<Body> {
  status: 200 | 201 | 202
  /** Becomes the ETag, where there is one. */
  version?: string
  location?: string
  body: Body
  /** Members that are shown once and kept nowhere. */
  secret?: Secret | undefined
}

/**
 * Where an operation writes. `Made` is what comes of the row, and undefined where nothing was written, so that the
 * operation looks for the reason outside of the transaction.
 */
export interface Writer<Row, Made = Row> {
  /** For one statement, which needs no transaction of its own. */
  statement(write: (db: Db) => Promise<Row | undefined>): Promise<Made | undefined>
  transaction(write: (tx: Tx) => Promise<Row | undefined>): Promise<Made | undefined>
}

/** For operations that can be repeated as they are. */
export function directly<Row>(db: Db): Writer<Row> {
  return {
    statement: (write) => againAfterDeadlock(() => write(db)),
    transaction: (write) => againAfterDeadlock(() => db.transaction().execute(write)),
  }
}

interface Exchange {
  db: Db
  request: FastifyRequest
  reply: FastifyReply
  /** Whether a kept answer may be repeated to this caller, where that is not judged before by what the request names. */
  maySee?: (body: object) => boolean
}

/**
 * Runs an operation and answers; where the request has a key, once in 24 hours, after which the first answer is
 * repeated. Whatever the caller needs a right for has to be judged before.
 */
export async function answerOnce<Row, Body extends object>(
  exchange: Exchange,
  toAnswer: (row: Row) => Answer<Body>,
  operate: (writer: Writer<Row, Answer<Body> | KeptAnswer>) => Promise<Answer<Body> | KeptAnswer>,
): Promise<Body> {
  const { db, request, reply, maySee = () => true } = exchange
  const { idempotencyKey: key } = request
  const outcome = key
    ? await operateOnce(db, key, () => operate(keeping(exchange, key, toAnswer)))
    : await operate(answering(db, toAnswer))
  if (!('etag' in outcome)) return send(reply, outcome)
  if (!maySee(outcome.body)) throw problem('idempotency-key-reused')
  return replay(reply, outcome)
}

function answering<Row, Body>(
  db: Db,
  toAnswer: (row: Row) => Answer<Body>,
): Writer<Row, Answer<Body> | KeptAnswer> {
  const { statement, transaction } = directly<Row>(db)
  const answer = (row: Row | undefined) => row && toAnswer(row)
  return {
    statement: async (write) => answer(await statement(write)),
    transaction: async (write) => answer(await transaction(write)),
  }
}

/** What refused a request may be the very thing that the first one under its key has just made. */
async function operateOnce<T>(
  db: Db,
  key: IdempotencyKey,
  operate: () => Promise<T | KeptAnswer>,
): Promise<T | KeptAnswer> {
  const first = await findAnswer(db, key)
  if (first) return first
  return operate().catch(async (error: unknown) => {
    const meanwhile = error instanceof ProblemError && (await findAnswer(db, key))
    if (meanwhile) return meanwhile
    throw error
  })
}

/**
 * The answer is kept in the transaction of what it tells, so that there is neither without the other. A request that is
 * only tried judges the key and keeps nothing; the lock alone could make the real one be refused.
 */
function keeping<Row, Body extends object>(
  { db, request: { dryRun }, reply }: Exchange,
  key: IdempotencyKey,
  toAnswer: (row: Row) => Answer<Body>,
): Writer<Row, Answer<Body> | KeptAnswer> {
  const keep = async (tx: Tx, write: (tx: Tx) => Promise<Row | undefined>) => {
    await (dryRun ? assertKeyFree : lockKey)(tx, key)
    const first = await findAnswer(tx, key)
    if (first) return first
    const row = await write(tx)
    if (row === undefined) return undefined
    const answer = toAnswer(row)
    if (!dryRun) await insertAnswer(tx, key, toKept(reply, answer))
    return answer
  }
  const transaction = (write: (tx: Tx) => Promise<Row | undefined>) =>
    againAfterDeadlock(() => db.transaction().execute((tx) => keep(tx, write)))
  return { statement: transaction, transaction }
}

/** What the schema of the answer lets out, which is all that may be kept. */
function toKept<Body extends object>(reply: FastifyReply, answer: Answer<Body>): KeptAnswer {
  const { status, version, location = null, body, secret } = answer
  const members = body as Record<string, unknown>
  const text = reply.serializeInput(members, String(status), 'application/json')
  const shown = JSON.parse(String(text))
  return {
    status,
    etag: version === undefined ? null : toETag(version),
    location,
    body: secret ? { ...shown, secret_omitted: true } : shown,
  }
}

function send<Body extends object>(reply: FastifyReply, answer: Answer<Body>): Body {
  const { status, version, location, body, secret } = answer
  reply.code(status)
  if (version !== undefined) setETag(reply, version)
  if (location !== undefined) reply.header('location', location)
  return { ...body, ...secret }
}

/** As it was, even where the schema of the answer has become another one since. */
function replay<Body>(reply: FastifyReply, { status, etag, location, body }: KeptAnswer): Body {
  reply.code(status).header('idempotency-replayed', 'true')
  if (etag !== null) reply.header('etag', etag)
  if (location !== null) reply.header('location', location)
  reply.type('application/json; charset=utf-8').serializer(JSON.stringify)
  return body as Body
}
