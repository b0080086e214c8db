import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import Ajv2020 from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { recordAnswer } from './contract-coverage.ts'

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete'

interface Response {
  headers?: Record<string, object>
  content?: Record<string, MediaType>
}

export interface MediaType {
  schema: object
  example?: unknown
  examples?: Record<string, { value: unknown }>
}

export interface Operation {
  operationId: string
  description?: string
  security?: Record<string, string[]>[]
  requestBody?: { content: Record<string, MediaType> }
  responses: Record<string, Response>
}

export const document = JSON.parse(
  readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'),
) as {
  paths: Record<string, Partial<Record<Method, Operation>>>
  components: { schemas: Record<string, object> }
}

const ajv = new Ajv2020.default({ strict: false, allErrors: true, validateFormats: true })
addFormats.default(ajv)
ajv.addSchema(document, 'openapi')

const patterns = Object.keys(document.paths).map((path) => ({
  path,
  pattern: new RegExp(`^${path.replace(/[.]/g, '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`),
}))

/** Only where there is a next page, a list is whole, an answer is given again, the request was a trial, or budgets are set. */
const optionalHeaders = new Set([
  'link',
  'as-of',
  'idempotency-replayed',
  'dry-run',
  'ratelimit',
  'ratelimit-policy',
])
/** Of what a trial made there is neither a version nor a place. */
const notOfTrials = new Set(['etag', 'location'])

export interface Answer {
  status: number
  headers: Headers
  body: unknown
}

/** What was really answered, by operation and status, for tests that ask whether all of it was seen. */
export const seen = new Set<string>()

/**
 * Fails when an answer is not what the committed document declares for the operation: its status, media type,
 * headers and body. What the document has no operation for must still be a problem.
 */
export function assertDeclared(method: string, url: string, answer: Answer): void {
  const path = new URL(url, 'http://host').pathname
  const template = patterns.find(({ pattern }) => pattern.test(path))?.path
  const operation =
    template === undefined ? undefined : document.paths[template]?.[method.toLowerCase() as Method]
  if (template === undefined || operation === undefined) {
    assertUndeclared(path, answer)
    return
  }
  const where = `${operation.operationId} ${answer.status}`
  const key = operation.responses[answer.status] ? String(answer.status) : `${String(answer.status)[0]}XX`
  const response = operation.responses[key]
  assert.ok(response, `${where} is not declared`)
  seen.add(where)
  assertHeaders(where, response, answer)
  if (!response.content) {
    assert.equal(answer.body, undefined, `${where} declares no body`)
    recordAnswer(`${operation.operationId} ${key}`)
    return
  }
  const mediaType = answer.headers.get('content-type')?.split(';')[0] ?? ''
  assert.ok(response.content[mediaType], `${where} does not declare ${mediaType}`)
  const pointer = ['paths', template, method.toLowerCase(), 'responses', key, 'content', mediaType, 'schema']
  assertValid(`openapi#/${pointer.map(toPointerToken).join('/')}`, answer.body, where)
  recordAnswer(
    [operation.operationId, key, ...declaredCode(where, response.content[mediaType], answer)].join(' '),
  )
}

/** The code of a problem, where the operation says which ones it answers. */
function declaredCode(where: string, { examples }: MediaType, { body }: Answer): string[] {
  if (!examples) return []
  const code = (body as { type: string }).type.replace('/problems/', '')
  assert.ok(Object.hasOwn(examples, code), `${where} does not declare ${code}`)
  return [code]
}

function assertUndeclared(path: string, answer: Answer): void {
  if (!path.startsWith('/v1') && answer.status < 400) return
  assert.equal(answer.headers.get('content-type')?.split(';')[0], 'application/problem+json', path)
  assertValid('openapi#/components/schemas/Problem', answer.body, path)
}

function assertHeaders(where: string, { headers = {} }: Response, answer: Answer): void {
  const trial = answer.headers.has('dry-run')
  for (const name of Object.keys(headers)) {
    if (trial && notOfTrials.has(name)) continue
    if (name === 'retry-after' && answer.status === 429 && isFuseBlown(answer)) continue // no time mends it
    if (!optionalHeaders.has(name)) assert.ok(answer.headers.has(name), `${where} lacks the header ${name}`)
  }
}

function isFuseBlown({ body }: Answer): boolean {
  return (body as { type: string }).type === '/problems/fuse-blown'
}

export function assertValid(reference: string, value: unknown, where: string): void {
  const validate = ajv.getSchema(reference) ?? ajv.compile({ $ref: reference })
  assert.ok(
    validate(value),
    `${where}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value, null, 2)}`,
  )
}

function toPointerToken(token: string): string {
  return encodeURIComponent(token.replaceAll('~', '~0').replaceAll('/', '~1'))
}
