import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { catalogue, type ProblemCode } from './catalogue.ts'
import { escapeHtml, htmlPage } from './page.ts'
import { problem } from './problems.ts'
import { page, responsesFor } from './responses.ts'
import { strict } from './schemas.ts'

/** What the `type` of a problem points to: a page for the person who wonders what to do. */
export const problemPages: FastifyPluginAsyncTypebox = async (app) => {
  app.get(
    '/problems/:code',
    {
      schema: {
        operationId: 'getProblem',
        tags: ['operations'],
        summary: 'What a problem means and what to do about it',
        security: [],
        params: strict({ code: Type.String({ description: 'The last part of the `type` of a problem.' }) }),
        response: { 200: page('A page for people.'), ...responsesFor(['not-found']) },
      },
    },
    async (request, reply) => {
      const { code } = request.params
      if (!isProblemCode(code)) throw problem('not-found')
      const { html, policy } = render(code)
      reply.type('text/html; charset=utf-8').header('content-security-policy', policy)
      return html
    },
  )
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(catalogue, code)
}

function render(code: ProblemCode) {
  const { status, title, help } = catalogue[code]
  const body = `<h1>${escapeHtml(title)}</h1>
<p>HTTP status <code>${status}</code>, type <code>/problems/${code}</code></p>
<p>${escapeHtml(help).replace(/`([^`]*)`/g, '<code>$1</code>')}</p>
<p><a href="/guide/errors">Errors in general</a> · <a href="/docs">API reference</a></p>`
  return htmlPage({ title, body })
}
