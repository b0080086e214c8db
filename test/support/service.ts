import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import pino from 'pino'
import { buildApp } from '../../src/app.ts'
import { type Db, openDatabase } from '../../src/database.ts'
import type { DomainName } from '../../src/domains/name.ts'
import type { Issuer } from '../../src/issuer.ts'
import type { DoveadmConfig } from '../../src/jobs/doveadm.ts'
import { startWorker } from '../../src/jobs/worker.ts'
import { type InstallationKeys, loadOrCreateKeys } from '../../src/keys.ts'
import type { RateLimits } from '../../src/rate-limits/limits.ts'
import { type Scope, scopes } from '../../src/scopes.ts'
import { createWorkQueue, type WorkQueue } from '../../src/work-queue.ts'
import { type Client, createClient } from './client.ts'
import { serviceLogin, templateDatabase } from './names.ts'
import './overdue.ts'

export interface Caller {
  scopes?: readonly Scope[]
  domains?: '*' | string[]
  subject?: string
  passwordDelivery?: 'sealed'
}

export interface Service {
  app: FastifyInstance
  url: string
  db: Db
  /** A superuser in the same database, to look behind the API. */
  admin: pg.Pool
  keys: InstallationKeys
  derivations: WorkQueue
  /** Every line of the log, at trace. */
  log: string[]
  token(caller?: Caller): Promise<string>
  /** A client with a token of its own; without arguments it may do everything. */
  as(caller?: Caller): Promise<Client>
}

interface Options {
  jobs?: DoveadmConfig
  limits?: RateLimits
  /** Of another service, so that the tokens of one are good at both. */
  keys?: InstallationKeys
  /** An identity provider whose tokens are accepted too, and the claim of them that lists domains. */
  issuer?: Issuer
  domainsClaim?: string
  /** false: each request asks the table for its token, as where changes cannot be heard. */
  remembersTokens?: boolean
}

/**
 * A database of its own, cloned from the template, and the service on a free port, where `jobs` is given with a worker
 * beside it. All of it ends with the test file.
 */
export async function startService(options: Options = {}): Promise<Service> {
  const { jobs, limits, issuer, domainsClaim = 'mailwright_domains', remembersTokens = true } = options
  const database = await cloneDatabase()
  const folder = await mkdtemp(join(tmpdir(), 'mailwright-test-'))
  const keys = options.keys ?? (await loadOrCreateKeys(join(folder, 'token-key.json')))
  const db = openDatabase(database.serviceUrl)
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 4 })
  admin.on('error', () => {}) // a connection that still closes when its database is dropped
  const log: string[] = []
  const derivations = createWorkQueue()
  const app = await buildApp({
    db,
    derivations,
    auth: { keys, issuer, domainsClaim },
    ...(remembersTokens && { databaseUrl: database.serviceUrl }),
    ...(limits && { limits }),
    fastify: { logger: { level: 'trace', stream: { write: (line: string) => void log.push(line) } } },
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  const worker =
    jobs &&
    startWorker({
      databaseUrl: database.serviceUrl,
      db,
      doveadm: jobs,
      log: pino({ level: 'silent' }),
      imports: { derivations, keys, nameTaken: limits?.nameTaken },
    })
  after(async () => {
    await worker?.stop()
    await app.close()
    await db.destroy()
    await admin.end()
    await database.drop()
    await rm(folder, { recursive: true })
  })
  const token = ({ scopes: held = scopes, domains = '*', subject = 'test', ...rest }: Caller = {}) =>
    keys.sign({
      subject,
      scopes: held,
      domains: domains as DomainName[] | '*',
      expiresInSeconds: 3600,
      ...rest,
    })
  const as = async (caller?: Caller) => createClient(url, await token(caller))
  return { app, url, db, admin, keys, derivations, log, token, as }
}

/** A second instance of the service on the same database, with a pool and a queue of its own; its address. */
export async function startReplica({ admin, keys }: Service, limits: RateLimits = {}): Promise<string> {
  const url = new URL(String(admin.options.connectionString))
  url.username = serviceLogin.name
  url.password = serviceLogin.password
  const db = openDatabase(String(url))
  const auth = { keys, domainsClaim: 'mailwright_domains' }
  const app = await buildApp({ db, derivations: createWorkQueue(), auth, databaseUrl: String(url), limits })
  after(async () => {
    await app.close()
    await db.destroy()
  })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

export async function cloneDatabase(template = templateDatabase) {
  const root = process.env.TEST_POSTGRES_URL
  if (!root) throw new Error('run the tests with npm test: test/support/global.ts starts their Postgres')
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await execute(root, `create database ${name} template ${template}`)
  const adminUrl = withDatabase(root, name)
  const serviceUrl = new URL(adminUrl)
  serviceUrl.username = serviceLogin.name
  serviceUrl.password = serviceLogin.password
  return {
    adminUrl,
    serviceUrl: String(serviceUrl),
    drop: () => execute(root, `drop database ${name} with (force)`),
  }
}

function withDatabase(url: string, name: string): string {
  const other = new URL(url)
  other.pathname = `/${name}`
  return String(other)
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
