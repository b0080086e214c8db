import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { problem } from './problems.ts'

/**
 * Reads bodies: JSON, for PATCH also under the name of JSON Merge Patch (RFC 7396). An empty body is no
 * body, whatever its content type; what is no JSON is 415.
 */
export const bodies = fp(async (app: FastifyInstance) => {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else parseJson(request, body as string, done)
  })
  app.addContentTypeParser('application/merge-patch+json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined)
    else if (request.method === 'PATCH') parseJson(request, body as string, done)
    else done(problem('unsupported-media-type', { detail: 'Only PATCH takes a merge patch.' }))
  })
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') done(null, undefined)
    else done(problem('unsupported-media-type', { detail: 'Send the body as application/json.' }))
  })
})
