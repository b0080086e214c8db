import swagger from '@fastify/swagger'
import type { FastifyInstance, FastifySchema } from 'fastify'
import fp from 'fastify-plugin'
import packageJson from '../package.json' with { type: 'json' }
import { nameSchemas } from './named-schemas.ts'
import { scopeDescriptions } from './scopes.ts'

const tags = [
  { name: 'domains', description: 'Domains that this installation accepts mail for.' },
  {
    name: 'mailboxes',
    description: 'Where the mail of an address is put, with the two logins of its account.',
  },
  {
    name: 'accounts',
    description: 'Who logs in. An account may exist without a mailbox, never the other way round.',
  },
  { name: 'aliases', description: 'Addresses whose mail goes to others, and catch-alls.' },
  { name: 'server', description: 'Settings and statistics of the installation.' },
  { name: 'audit', description: 'Who changed what, and when.' },
  { name: 'imports', description: 'Many rows at once, done as a job: from a file of CSV or NDJSON.' },
  { name: 'tokens', description: 'Bearer tokens that this installation makes for other callers.' },
  { name: 'mail programs', description: 'What mail programs ask for by themselves, without a token.' },
  { name: 'operations', description: 'For monitoring.' },
]

const description = `Provisions mail domains, mailboxes and accounts in Postgres, where Postfix and Dovecot read them live.
Besides this reference there is the [documentation](/guide/): getting started, whole tasks, mail programs, operations.

- **Names.** The local part of an address is also a login name by itself, so it belongs to one mailbox in the whole installation: \`user01@example.jp\` and \`user01@example.com\` cannot both exist (409 \`name-taken\`). Whether a name is free is therefore the one thing a caller can learn about domains that are not its own.
- **Errors** are \`application/problem+json\` (RFC 9457). Switch on \`type\`: \`/problems/<code>\`; each is a page of this service.
- **Repeats.** \`PUT /v1/mailboxes/{mailbox}\` is made for jobs that run again and again. A POST with an \`Idempotency-Key\` is done once: for 24 hours the same request under it gets the first answer again, with \`idempotency-replayed: true\` and \`"secret_omitted": true\` in place of a generated password or token. Without a key a create that is repeated answers 409 and changes nothing, but with \`name_candidates\` it makes another mailbox, and \`POST /v1/tokens\` another token: send a key there.
- **Trials.** With \`?dry_run=true\` a POST, PUT, PATCH or DELETE is answered as it would be now, refusals included, and changes nothing; the answer has the header \`dry-run: true\`.
- **Versions.** Every object that can be changed has an ETag; PATCH, PUT and DELETE take it as \`If-Match\`. It is for writing only: GET never answers 304.
- **Lists** are pages in the order of the names, of tokens and audit events in that of the time: send \`next\` as \`cursor\`. There is no total.
- **Callers** are bearer tokens with scopes and a list of domains; what lies outside the list answers as if it did not exist.`

export interface DocumentOptions {
  /** Where clients reach the service; "/" = where they found the document. */
  publicUrl?: string | undefined
}

/** The OpenAPI 3.1 document, made from the schemas of the routes. */
export const openapiDocument = fp(async (app: FastifyInstance, { publicUrl }: DocumentOptions) => {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Mailwright',
        version: packageJson.version,
        description,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: publicUrl ?? '/' }],
      tags,
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            bearerFormat: 'JWT',
            description: `A JWT of the configured OIDC issuer or of this installation (\`POST /v1/tokens\`, \`npm run token\`). Scopes, from \`scope\`, \`scp\` or \`roles\`:\n\n${scopeList}`,
          },
        },
      },
    },
    transformObject: (made) => nameSchemas('openapiObject' in made ? made.openapiObject : made.swaggerObject),
    transform: ({ schema, url }) => ({ schema: withScopes(schema), url }),
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `schema-${i}`) },
  })
})

/** The page that shows the document says nothing of the scopes of a bearer token, so the text does. */
function withScopes(schema: FastifySchema): FastifySchema {
  const scopes = (schema?.security ?? []).flatMap(({ bearer = [] }) => bearer)
  if (scopes.length === 0) return schema
  const needs = `Scope: ${scopes.map((scope) => `\`${scope}\``).join(', ')}.`
  return { ...schema, description: [schema.description, needs].filter(Boolean).join('\n\n') }
}

const scopeList = Object.entries(scopeDescriptions)
  .map(([scope, text]) => `- \`${scope}\`: ${text}`)
  .join('\n')
