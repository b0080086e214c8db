import Type, { type Static, type TSchema } from 'typebox'
import { catalogue, type ProblemCode } from './catalogue.ts'
import { nullable, oneOf, ref, strict, Timestamp } from './schemas.ts'

const ProblemPart = strict(
  {
    pointer: Type.String({
      description:
        'JSON pointer (RFC 6901) into the body, or `query/…`, `path/…`, `header/…` for a parameter.',
    }),
    detail: Type.String(),
  },
  { $id: 'ProblemPart' },
)

const Conflict = strict(
  {
    kind: oneOf(['domain', 'mailbox', 'account', 'alias']),
    address: Type.String({ description: 'The address; for a domain or an account its name.' }),
    purge_at: Type.Optional(nullable(Timestamp)),
  },
  {
    $id: 'Conflict',
    description: 'What the request collided with; only there when the caller may read that object.',
  },
)

export const Problem = strict(
  {
    type: Type.String({
      format: 'uri-reference',
      description: 'Stable: `/problems/<code>`, a page that explains it. Switch on it.',
    }),
    title: Type.String(),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String({ description: 'For a person: what is wrong and what to do.' })),
    instance: Type.String({
      format: 'uri',
      description: 'The request id, as in the `x-request-id` header and the log.',
    }),
    errors: Type.Optional(Type.Array(ref(ProblemPart))),
    conflict: Type.Optional(ref(Conflict)),
  },
  { $id: 'Problem', description: 'A refused request (RFC 9457).' },
)
export type Problem = Static<typeof Problem>

export const problemSchemas = [ProblemPart, Conflict, Problem]

const everywhere: ProblemCode[] = [
  'invalid-request',
  'unauthenticated',
  'insufficient-scope',
  'too-many-requests',
  'internal-error',
  'busy',
  'unavailable',
]
const withBody: ProblemCode[] = ['content-too-large', 'unsupported-media-type']

/** The OpenAPI answers of an operation under /v1 that reads no body: these problems and those of every operation. */
export function problemResponses(...codes: ProblemCode[]) {
  return responsesFor([...everywhere, ...codes])
}

/** The same for an operation that is sent a body, or whose method may carry one, as DELETE does. */
export function bodyProblemResponses(...codes: ProblemCode[]) {
  return responsesFor([...everywhere, ...withBody, ...codes])
}

/** The same answers, which may be these problems besides. */
export function withProblems(
  responses: Record<number, TSchema>,
  ...codes: ProblemCode[]
): Record<number, TSchema> {
  const declared = Object.values(responses as Record<number, Documented>).flatMap(({ content }) =>
    Object.keys(content?.['application/problem+json']?.examples ?? {}),
  )
  return { ...responses, ...responsesFor([...(declared as ProblemCode[]), ...codes]) }
}

/** The same answers; those of success may carry the header. */
export function withHeader(
  responses: Record<number, TSchema>,
  name: keyof typeof answerHeaders,
): Record<number, TSchema> {
  const entries = Object.entries(responses as Record<number, Documented>).map(([status, response]) => {
    const headers = { ...response.headers, [name]: answerHeaders[name] }
    return [status, Number(status) < 400 ? { ...response, headers } : response]
  })
  return Object.fromEntries(entries)
}

/** What the document says of an answer, beside its schema. */
interface Documented {
  headers?: object
  content?: Record<string, { examples?: object }>
}

/** One answer for each status; its description and examples name the codes. */
export function responsesFor(codes: ProblemCode[]): Record<number, TSchema> {
  const byStatus = Map.groupBy(new Set(codes), (code) => catalogue[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, ofStatus]) => [status, problemResponse(status, ofStatus)]),
  )
}

function problemResponse(status: number, codes: ProblemCode[]): TSchema {
  return {
    description: codes.map((code) => `\`${code}\`: ${catalogue[code].title}.`).join(' '),
    headers: { 'x-request-id': requestId, ...problemHeaders[status] },
    content: {
      'application/problem+json': {
        schema: ref(Problem),
        examples: Object.fromEntries(codes.map((code) => [code, { value: example(code) }])),
      },
    },
  } as unknown as TSchema
}

function example(code: ProblemCode) {
  const { status, title } = catalogue[code]
  return {
    type: `/problems/${code}`,
    title,
    status,
    instance: 'urn:uuid:0b6f6c3e-6f0e-4c1e-9d53-1f1f5f0a7a11',
  }
}

const requestId = { type: 'string', format: 'uuid', description: 'The id of this request in the log.' }

const rateLimit = {
  type: 'string',
  description:
    'What is left of each budget that the request counted against (`r`), and the seconds until it is full again (`t`); where budgets are set. See draft-ietf-httpapi-ratelimit-headers.',
}
const rateLimitPolicy = { type: 'string', description: 'Those budgets: `q` in `w` seconds.' }

const problemHeaders: Record<number, object> = {
  401: { 'www-authenticate': { type: 'string', description: 'RFC 6750 §3.' } },
  403: { 'www-authenticate': { type: 'string', description: 'RFC 6750 §3: the scope that is missing.' } },
  405: { allow: { type: 'string', description: 'The methods of this path.' } },
  429: {
    'retry-after': {
      type: 'integer',
      description: 'Seconds to wait before trying again; not with `fuse-blown`, which no time mends.',
    },
    ratelimit: rateLimit,
    'ratelimit-policy': rateLimitPolicy,
  },
  503: { 'retry-after': { type: 'integer', description: 'Seconds to wait before trying again.' } },
}

const answerHeaders = {
  etag: { type: 'string', description: 'The version; send it as `If-Match`.' },
  location: { type: 'string', format: 'uri-reference', description: 'The path of the new resource.' },
  link: { type: 'string', description: 'RFC 8288: `rel="next"`, where there is a next page.' },
  vary: { type: 'string', description: '`accept`: the media type was chosen by this header.' },
  'dry-run': { type: 'string', description: '`true`: the request was only tried; nothing was changed.' },
  'as-of': {
    type: 'string',
    format: 'date-time',
    description:
      'With a whole list: send it as `updated_since` of a later poll, and no change since then is missed.',
  },
  ratelimit: rateLimit,
  'ratelimit-policy': rateLimitPolicy,
  'idempotency-replayed': {
    type: 'string',
    description: '`true`: this is the answer of the first request under the `Idempotency-Key`.',
  },
}

/** A JSON answer, with the headers it carries. */
export function answer<T extends TSchema>(
  schema: T,
  description: string,
  ...headers: (keyof typeof answerHeaders)[]
) {
  return {
    description,
    headers: { 'x-request-id': requestId, ...pick(headers) },
    content: { 'application/json': { schema: ref(schema) } },
  }
}

/** For the description of a list that is given out whole as well. */
export const wholeListText =
  'With `accept: application/x-ndjson` or `text/csv` the answer is the whole list, as it was at one moment, without pages (`limit` and `cursor` are refused). A caller may read two at once (429 beyond), and only so many are given out at all (503). What fails half-way ends in a broken connection, never like a list that is whole.'

/** A page of a list as JSON; of all of it the items as lines, or a table. */
export function listAnswer<T extends TSchema>(
  schema: T,
  item: string,
  ...headers: (keyof typeof answerHeaders)[]
) {
  const page = answer(schema, 'A page, or the whole list.', 'link', ...headers)
  const lines = Type.String({ description: `A \`${item}\` as JSON on each line.` })
  const table = Type.String({
    description:
      'RFC 4180 in UTF-8: a header line, then a line for each item. Null is an empty field; lists are parted by spaces. Columns may be added at the end.',
  })
  const content = {
    ...page.content,
    'application/x-ndjson': { schema: lines },
    'text/csv': { schema: table },
  }
  return { ...page, content }
}

/** A page for people. */
export function page(description: string) {
  return { description, content: { 'text/html': { schema: Type.String() } } }
}

/** For programs that do not read JSON. */
export function plainText(description: string) {
  return texts(description, ['text/plain'])
}

/** A text in one of these media types. */
export function texts(
  description: string,
  mediaTypes: readonly string[],
  ...headers: (keyof typeof answerHeaders)[]
) {
  const schema = Type.String()
  return {
    description,
    headers: { 'x-request-id': requestId, ...pick(headers) },
    content: Object.fromEntries(mediaTypes.map((mediaType) => [mediaType, { schema }])),
  }
}

/** For operations that refuse only what is no proper HTTP request for them. */
export const unspecificProblem = {
  description: 'The request is malformed.',
  content: { 'application/problem+json': { schema: ref(Problem) } },
}

/** 204: done, nothing to say. */
export function noContent(description: string, ...headers: (keyof typeof answerHeaders)[]) {
  return Type.Unsafe<void>({
    type: 'null',
    description,
    headers: { 'x-request-id': requestId, ...pick(headers) },
  })
}

function pick(headers: (keyof typeof answerHeaders)[]) {
  return Object.fromEntries(headers.map((name) => [name, answerHeaders[name]]))
}
