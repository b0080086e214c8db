import { randomUUID } from 'node:crypto'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance, type FastifyServerOptions, LogController } from 'fastify'
import { accountList } from './accounts/list-routes.ts'
import { passwordChecks } from './accounts/password-check-routes.ts'
import { passwords } from './accounts/password-routes.ts'
import { accounts } from './accounts/routes.ts'
import { accountSchemas } from './accounts/schemas.ts'
import { aliasList } from './aliases/list-routes.ts'
import { aliases } from './aliases/routes.ts'
import { aliasSchemas } from './aliases/schemas.ts'
import { auditEvents } from './audit/routes.ts'
import { auditSchemas } from './audit/schemas.ts'
import { type AuthOptions, auth } from './auth.ts'
import { bodies, refuseUnknownBody } from './bodies.ts'
import { autoconfig } from './client-configuration/autoconfig-routes.ts'
import { clientConfiguration } from './client-configuration/routes.ts'
import type { Db } from './database.ts'
import { domainList } from './domains/list-routes.ts'
import { domainMove } from './domains/move-routes.ts'
import { domainMoveSchemas } from './domains/move-schemas.ts'
import { domainRestore } from './domains/restore-routes.ts'
import { domains } from './domains/routes.ts'
import { domainSchemas } from './domains/schemas.ts'
import { DomainStatistics, domainStatistics } from './domains/statistics.ts'
import { drain } from './drain.ts'
import { dryRun } from './dry-run/declaration.ts'
import { createExports } from './exports/exports.ts'
import { guide } from './guide/routes.ts'
import { Health, health } from './health.ts'
import { idempotency } from './idempotency/declaration.ts'
import { imports } from './imports/routes.ts'
import { rowSchemas } from './imports/row-schemas.ts'
import { importRows } from './imports/rows-routes.ts'
import { importSchemas } from './imports/schemas.ts'
import { mailboxEnsure } from './mailboxes/ensure-routes.ts'
import { mailboxList } from './mailboxes/list-routes.ts'
import { mailboxRename } from './mailboxes/rename-routes.ts'
import { mailboxRestore } from './mailboxes/restore-routes.ts'
import { mailboxes } from './mailboxes/routes.ts'
import { mailboxSchemas } from './mailboxes/schemas.ts'
import { refuseMalformed, serverOptions, wellFormed } from './malformed.ts'
import { observe } from './metrics/observe.ts'
import { createMetrics } from './metrics/registry.ts'
import { metricsRoute } from './metrics/route.ts'
import { openapiDocument } from './openapi-document.ts'
import { problemDetails, refusePath } from './problem-details.ts'
import { problemPages } from './problem-pages.ts'
import { budgets } from './rate-limits/budgets.ts'
import type { RateLimits } from './rate-limits/limits.ts'
import { nameTakenBudget } from './rate-limits/name-taken.ts'
import { reference } from './reference.ts'
import { requestContext } from './request-context.ts'
import { requestLog } from './request-log.ts'
import { problemSchemas } from './responses.ts'
import { buildSerializer } from './serialization.ts'
import { server } from './server/routes.ts'
import { serverSchemas } from './server/schemas.ts'
import { slowBodies, slowBodyMs } from './slow-bodies.ts'
import { blowFuses } from './tokens/blow.ts'
import { createTokenCheck } from './tokens/check.ts'
import { tokenReset } from './tokens/reset-routes.ts'
import { tokens } from './tokens/routes.ts'
import { tokenSchemas } from './tokens/schemas.ts'
import { buildValidator, refuseUnknownQuery } from './validation.ts'
import type { WorkQueue } from './work-queue.ts'

export interface AppOptions {
  db: Db
  derivations: WorkQueue
  auth: Omit<AuthOptions, 'check'>
  /** Where replicas tell each other of revoked tokens; without it each request asks the database. */
  databaseUrl?: string | undefined
  publicUrl?: string | undefined
  limits?: RateLimits
  fastify?: FastifyServerOptions
}

const schemas = [
  ...problemSchemas,
  Health,
  ...domainSchemas,
  ...domainMoveSchemas,
  DomainStatistics,
  ...accountSchemas,
  ...mailboxSchemas,
  ...aliasSchemas,
  ...serverSchemas,
  ...auditSchemas,
  ...tokenSchemas,
  ...importSchemas,
  ...rowSchemas,
]

/** The whole HTTP side, in the order in which a request meets it. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { db, limits = {} } = options
  const app = createServer(options.fastify)
  const check = createTokenCheck({ db, databaseUrl: options.databaseUrl, log: app.log })
  app.addHook('onReady', () => check.ready())
  app.addHook('onClose', () => check.close())
  const metrics = createMetrics(options)
  const exports = createExports(db)
  app.addHook('preClose', async () => exports.stop())

  await app.register(openapiDocument, { publicUrl: options.publicUrl })
  await app.register(requestLog)
  await app.register(observe, { metrics })
  await app.register(wellFormed)
  await app.register(drain)
  await app.register(slowBodies)
  await app.register(problemDetails)
  await app.register(bodies)
  for (const schema of schemas) app.addSchema(schema)

  await app.register(health, { db })
  await app.register(problemPages)
  await app.register(reference)
  await app.register(guide)
  await app.register(autoconfig, { db, limit: limits.configurations })
  await app.register(metricsRoute, { metrics, auth: { ...options.auth, check } })
  await app.register(
    async (api) => {
      api.addHook('onRequest', (_request, reply, done) => {
        reply.header('cache-control', 'no-store')
        done()
      })
      api.addHook('onRoute', refuseUnknownQuery)
      api.addHook('preValidation', refuseUnknownBody)
      await api.register(auth, { ...options.auth, check })
      await api.register(requestContext)
      await api.register(dryRun)
      await api.register(blowFuses, { db })
      await api.register(budgets, limits)
      if (limits.nameTaken !== undefined) await api.register(nameTakenBudget, { db, limit: limits.nameTaken })
      const derivations = api.chargePasswords(options.derivations)
      await api.register(idempotency, options.auth)
      await api.register(domains, { prefix: '/domains', db })
      await api.register(domainList, { prefix: '/domains', db })
      await api.register(domainStatistics, { prefix: '/domains', db })
      await api.register(domainRestore, { prefix: '/domains', db })
      await api.register(domainMove, { prefix: '/domains', db })
      await api.register(mailboxes, { prefix: '/mailboxes', db, derivations })
      await api.register(mailboxList, { prefix: '/mailboxes', db, exports })
      await api.register(mailboxEnsure, { prefix: '/mailboxes', db, derivations })
      await api.register(mailboxRestore, { prefix: '/mailboxes', db })
      await api.register(mailboxRename, { prefix: '/mailboxes', db })
      await api.register(clientConfiguration, { prefix: '/mailboxes', db })
      await api.register(aliases, { prefix: '/aliases', db })
      await api.register(aliasList, { prefix: '/aliases', db, exports })
      await api.register(accounts, { prefix: '/accounts', db, derivations })
      await api.register(accountList, { prefix: '/accounts', db, exports })
      await api.register(passwords, { prefix: '/accounts', db, derivations })
      await api.register(passwordChecks, { prefix: '/accounts', db, derivations })
      await api.register(server, { prefix: '/server', db, check })
      await api.register(auditEvents, { prefix: '/audit-events', db })
      await api.register(imports, { prefix: '/imports', db, keys: options.auth.keys })
      await api.register(importRows, { prefix: '/imports', db })
      await api.register(tokens, { prefix: '/tokens', db, keys: options.auth.keys, check })
      await api.register(tokenReset, { prefix: '/tokens', db })
    },
    { prefix: '/v1' },
  )
  return app
}

function createServer(options: FastifyServerOptions = {}): FastifyInstance {
  return Fastify({
    bodyLimit: 64 * 1024, // the largest body is a mailbox
    requestTimeout: slowBodyMs,
    routerOptions: { maxParamLength: Number.MAX_SAFE_INTEGER }, // a name that is too long is not there
    genReqId: () => randomUUID(), // the client's own id is logged beside it
    requestIdHeader: false,
    logController: new LogController({ disableRequestLogging: true }), // src/request-log.ts writes the line
    return503OnClosing: false, // what arrives on a kept-alive connection while stopping is still served
    schemaController: { compilersFactory: { buildValidator: buildValidator as never, buildSerializer } },
    frameworkErrors: refusePath as never,
    clientErrorHandler: refuseMalformed,
    http: serverOptions,
    ...options,
  }).withTypeProvider<TypeBoxTypeProvider>() as unknown as FastifyInstance
}
