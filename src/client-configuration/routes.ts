import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply } from 'fastify'
import Type from 'typebox'
import { preferredMediaType } from '../accept.ts'
import type { Db } from '../database.ts'
import { toCredentials } from '../mailboxes/credentials.ts'
import { MailboxParams } from '../mailboxes/parameters.ts'
import { getMailbox, parseMailboxKey } from '../mailboxes/store.ts'
import type { MailboxRow } from '../mailboxes/view.ts'
import { problem } from '../problems.ts'
import { problemResponses, texts } from '../responses.ts'
import { oneOf, strict } from '../schemas.ts'
import { toAutoconfigXml } from './autoconfig.ts'
import { type LoginForm, loginForms, loginsOf, toWords } from './logins.ts'
import { toPlainText } from './plain-text.ts'

/** draft-ietf-mailmaint-autoconfig, "Data format": text/xml. RFC 7303 §9.2: the same as application/xml. */
export const mediaTypes = ['text/xml', 'application/xml', 'text/plain'] as const

const ConfigurationQuery = strict({
  login: Type.Optional(
    oneOf(loginForms, {
      title: 'LoginForm',
      description:
        'The form of login. Without it the text has all that the mailbox has, and the XML the clear-text one, else the other.',
    }),
  ),
})

export const clientConfiguration: FastifyPluginAsyncTypebox<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/:mailbox/client-configuration',
    {
      schema: {
        operationId: 'getClientConfiguration',
        tags: ['mailboxes'],
        summary: 'What a person or a mail program sets the mailbox up with',
        description:
          'As the XML that Thunderbird and others read (draft-ietf-mailmaint-autoconfig; `text/xml`, or `application/xml`), or with `Accept: text/plain` as a text to hand out. It holds no password. A lock does not change it.',
        security: [{ bearer: ['mailboxes:read'] }],
        params: MailboxParams,
        querystring: ConfigurationQuery,
        response: {
          200: texts('The configuration, in UTF-8.', mediaTypes, 'vary'),
          ...problemResponses(
            'mailbox-not-found',
            'not-acceptable',
            'login-form-unavailable',
            'login-form-not-expressible',
          ),
        },
      },
    },
    async (request, reply) => {
      reply.header('vary', 'accept')
      const mediaType = preferredMediaType(request.headers.accept, mediaTypes)
      if (!mediaType) throw problem('not-acceptable', { detail: `Offered: ${mediaTypes.join(', ')}.` })
      const key = parseMailboxKey(request.params.mailbox)
      const row = await getMailbox(db, { key, visible: request.subject.domains })
      return send(reply, mediaType, row, request.query.login)
    },
  )
}

function send(
  reply: FastifyReply,
  mediaType: (typeof mediaTypes)[number],
  row: MailboxRow,
  asked: LoginForm | undefined,
): string {
  const credentials = toCredentials(row)
  const logins = loginsOf(credentials, asked)
  const text =
    mediaType === 'text/plain'
      ? toPlainText(row, logins, credentials.servers)
      : toAutoconfigXml({ domain: row.domain, servers: credentials.servers, ...toWords(logins) })
  reply.type(`${mediaType}; charset=utf-8`)
  return text
}
