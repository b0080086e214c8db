import { readdir, readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { htmlPage } from '../page.ts'
import { problem } from '../problems.ts'

const folder = new URL('../../docs/', import.meta.url)
const css =
  'body{max-width:52rem}pre{background:#f2f2f2;padding:.8em;overflow-x:auto}pre code{padding:0}table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;padding:.2em .5em;text-align:left;vertical-align:top}'
const links = '<p><a href="./">Documentation</a> · <a href="/docs">API reference</a></p>\n'

/**
 * The pages of docs as HTML, in the version that runs. They are read when somebody asks, and so is the library that
 * renders them; it takes no memory before.
 */
export async function guide(app: FastifyInstance): Promise<void> {
  const names = await readdir(folder).catch(() => []) // an installation without the folder has no guide
  const pages = new Set(names.filter((name) => name.endsWith('.md')))
  const options = { schema: { hide: true } }

  if (!pages.has('README.md')) return

  app.get('/guide', options, (_request, reply) => reply.redirect('/guide/'))

  app.get('/guide/', options, (_request, reply) => send(reply, 'README.md'))

  app.get<{ Params: { page: string } }>('/guide/:page', options, (request, reply) => {
    const file = `${request.params.page}.md`
    if (!pages.has(file)) throw problem('not-found')
    return send(reply, file)
  })
}

async function send(reply: FastifyReply, file: string): Promise<string> {
  const { renderMarkdown } = await import('./render.ts')
  const text = await readFile(new URL(file, folder), 'utf8')
  const title = `${/^# (.*)$/m.exec(text)?.[1] ?? file} · Mailwright`
  const { html, policy } = htmlPage({ title, body: links + renderMarkdown(text), css })
  reply.type('text/html; charset=utf-8').header('content-security-policy', policy)
  return html
}
