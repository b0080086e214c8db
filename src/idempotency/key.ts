import { createHash } from 'node:crypto'
import querystring from 'node:querystring'
import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import type { InstallationKeys } from '../keys.ts'
import { problemAt } from '../problems.ts'

/** That a request is to be done once: under whose key, and which request it was. */
export interface IdempotencyKey {
  issuer: string
  subject: string
  key: string
  /** The request's, under each key of the installation; the first is the one to keep. */
  fingerprints: readonly Buffer[]
}

export const header = 'idempotency-key'
const maxLength = 255
/** With quotation marks, and every character escaped. */
export const maxHeaderLength = 2 * maxLength + 2

/** A string of RFC 8941 §3.3.3, which is what draft-ietf-httpapi-idempotency-key-header §2.1 asks for. */
const quoted = /^"((?:[ !#-[\]-~]|\\["\\])+)"$/
/** Most clients leave the quotation marks out; both spellings are the same key. */
const bare = /^[!#-~][ -~]*$/

/** undefined where the request asks for nothing of the kind. */
export function readKey(request: FastifyRequest, keys: InstallationKeys): IdempotencyKey | undefined {
  const text = request.headers[header]
  if (text === undefined) return undefined
  const key = unquote(String(text))
  if (key === undefined || key.length > maxLength || isRepeated(request)) {
    const detail = `must be one key of 1 to ${maxLength} printable ASCII characters, as it is or as a quoted string`
    throw problemAt('invalid-request', `header/${header}`, detail)
  }
  const { issuer, id: subject } = request.subject
  return { issuer, subject, key, fingerprints: keys.fingerprints(describe(request)) }
}

/** Of a request whose body was read in its handler, as a stream: `digest` stands for it. */
export function rekey(request: FastifyRequest, keys: InstallationKeys, digest: Buffer): void {
  const { idempotencyKey, method, url, query } = request
  if (!idempotencyKey) return
  const body = { sha256: digest.toString('hex'), query }
  const fingerprints = keys.fingerprints(describe({ method, url, body } as FastifyRequest))
  request.idempotencyKey = { ...idempotencyKey, fingerprints }
}

/** Node joins what is sent twice. */
function isRepeated({ raw }: FastifyRequest): boolean {
  return raw.rawHeaders.filter((name, i) => i % 2 === 0 && name.toLowerCase() === header).length > 1
}

function unquote(text: string): string | undefined {
  return bare.test(text) ? text : quoted.exec(text)?.[1]?.replace(/\\(.)/g, '$1')
}

/** Says the same of two requests that ask for the same; the order of members does not count, nor whether one is only tried. */
function describe({ method, url, body }: FastifyRequest): string {
  const text = body instanceof Readable ? '' : JSON.stringify(body, sortMembers)
  return `${method} ${withoutDryRun(url)}\n${text ?? ''}`
}

/** The parameter as a client may spell it (RFC 3986 §2.3); what else was sent stays as it is. */
function withoutDryRun(url: string): string {
  const [path, query] = splitAt(url, '?')
  const isOther = (pair: string) => querystring.unescape(splitAt(pair, '=')[0]) !== 'dry_run'
  const others = query.split('&').filter(isOther).join('&')
  return others === '' ? path : `${path}?${others}`
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

function sortMembers(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** The number of the key's advisory lock. Two keys that share one by chance could only tell a client to try again. */
export function lockNumber({ issuer, subject, key }: Omit<IdempotencyKey, 'fingerprints'>): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([issuer, subject, key]))
    .digest()
  return String(digest.readBigInt64BE())
}
