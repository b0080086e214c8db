import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { problem, problemAt } from './problems.ts'

type Done = (error: Error | null, body?: unknown) => void

/**
 * Reads bodies: JSON, for PATCH also under the name of JSON Merge Patch (RFC 7396). An empty body is no
 * body, whatever its content type; what is no JSON is 415.
 */
export const bodies = fp(async (app: FastifyInstance) => {
  const parseText = app.getDefaultJsonParser('error', 'error')
  const parseJson = (request: FastifyRequest, body: Buffer, done: Done) => {
    if (!isUtf8(request.headers['content-type'])) {
      done(
        problem('unsupported-media-type', {
          detail: 'JSON is UTF-8 (RFC 8259 §8.1), whatever charset says.',
        }),
      )
      return
    }
    const text = decode(body)
    if (text === undefined) {
      done(
        problem('invalid-request', {
          detail: 'The body is not UTF-8 (RFC 8259 §8.1). Convert it before sending.',
        }),
      )
    } else parseText(request, text, done)
  }
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body: Buffer, done) => {
    if (body.length === 0) done(null, undefined)
    else parseJson(request, body, done)
  })
  app.addContentTypeParser(
    'application/merge-patch+json',
    { parseAs: 'buffer' },
    (request, body: Buffer, done) => {
      if (body.length === 0) done(null, undefined)
      else if (request.method === 'PATCH') parseJson(request, body, done)
      else done(problem('unsupported-media-type', { detail: 'Only PATCH takes a merge patch.' }))
    },
  )
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    if (body.length === 0) done(null, undefined)
    else done(problem('unsupported-media-type', { detail: 'Send the body as application/json.' }))
  })
})

// A byte that is none would become U+FFFD without a word, and two keys of the caller's could become one.
const utf8 = new TextDecoder('utf-8', { fatal: true })

function decode(body: Buffer): string | undefined {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}

export function isUtf8(contentType = ''): boolean {
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(contentType)?.[1]
  return charset === undefined || /^utf-?8$/i.test(charset)
}

/** An operation that declares no body refuses one that says something: it would be passed over in silence. */
export function refuseUnknownBody(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const { body } = request
  const says = body !== undefined && !isEmptyObject(body)
  if (says && request.routeOptions.schema?.body === undefined) {
    throw problemAt(
      'invalid-request',
      '',
      'This operation takes no body; its parameters stand in the path and query.',
    )
  }
  done()
}

/** Looks at the top alone: the body has met no schema, and may be nested deeper than the stack. */
function isEmptyObject(body: unknown): boolean {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0
}
