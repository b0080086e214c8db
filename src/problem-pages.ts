import { createHash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { catalogue, type ProblemCode } from './catalogue.ts'
import { problem } from './problems.ts'
import { page, responsesFor } from './responses.ts'
import { strict } from './schemas.ts'

const style =
  'body{font:1rem/1.6 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color:#222}code{background:#f2f2f2;padding:.1em .3em}'
const styleHash = createHash('sha256').update(style).digest('base64')
const policy = `default-src 'none'; style-src 'sha256-${styleHash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

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
      reply.type('text/html; charset=utf-8').header('content-security-policy', policy)
      return render(code)
    },
  )
}

function isProblemCode(code: string): code is ProblemCode {
  return Object.hasOwn(catalogue, code)
}

function render(code: ProblemCode): string {
  const { status, title, help } = catalogue[code]
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title><style>${style}</style></head>
<body>
<h1>${escapeHtml(title)}</h1>
<p>HTTP status <code>${status}</code>, type <code>/problems/${code}</code></p>
<p>${escapeHtml(help).replace(/`([^`]*)`/g, '<code>$1</code>')}</p>
<p><a href="/docs">API reference</a></p>
</body>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
