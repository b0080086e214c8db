/**
 * What a mailbox takes on disk, and what a request costs in statements, write-ahead log and processor time of the
 * service, in an installation of that many mailboxes. The bytes are those of tables filled at once, as by an import.
 *   npm run bench:sizes -- [mailboxes]
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { buildApp } from '../src/app.ts'
import { openDatabase } from '../src/database.ts'
import { startTemporaryPostgres } from '../src/embedded.ts'
import { loadOrCreateKeys } from '../src/keys.ts'
import { migrate } from '../src/migrations.ts'
import { loginOf } from '../src/roles.ts'
import { scopes } from '../src/scopes.ts'
import { createWorkQueue } from '../src/work-queue.ts'
import { domainOf, fillBeside, fillMailboxes, nameOf } from '../test/support/many.ts'

const many = { mailboxes: Number(process.argv[2] ?? 1_000_000), big: 'big.example' }
const requests = 1_000
const folder = await mkdtemp(join(tmpdir(), 'mailwright-bench-'))
const postgres = await startTemporaryPostgres({
  settings: { full_page_writes: 'on', max_wal_size: '8GB', checkpoint_timeout: '1h' },
})
const admin = new pg.Pool({ connectionString: postgres.url, max: 2 })
admin.on('error', () => {}) // a connection that still closes when its Postgres is stopped
await migrate({ ownerUrl: postgres.url, service: loginOf(postgres.url) })
await fillMailboxes(admin, many)
await fillBeside(admin, many)
await admin.query('vacuum')
await printSizes()

let statements = 0
const db = openDatabase(postgres.url, { onStatement: () => (statements += 1) })
const keys = await loadOrCreateKeys(join(folder, 'token-key.json'))
const app = await buildApp({
  db,
  derivations: createWorkQueue(),
  auth: { keys, domainsClaim: 'domains' },
  databaseUrl: postgres.url,
})
const token = await keys.sign({ subject: 'bench', scopes, domains: '*', expiresInSeconds: 3600 })
await printCosts()
await app.close()
await db.destroy()
await admin.end()
await postgres.stop()
await rm(folder, { recursive: true })

async function printSizes(): Promise<void> {
  const { rows } = await admin.query(`
    select c.oid::regclass as table, c.reltuples::integer as rows,
      round(pg_table_size(c.oid) / c.reltuples) as bytes, round(pg_indexes_size(c.oid) / c.reltuples) as index_bytes,
      round(pg_total_relation_size(c.oid) / 1e6) as mb
    from pg_class as c
    where c.relkind = 'r' and c.relnamespace::regnamespace::text in ('app', 'mail') and c.reltuples > 1000
    order by 5 desc`)
  console.table(rows)
}

async function printCosts(): Promise<void> {
  const address = (i: number) => `${nameOf(i)}@${domainOf(many, i)}`
  const create = (i: number) => ({ address: `new${i}@${many.big}`, no_password: true })
  const costs = {
    'get a mailbox': await costOf((i) => send('GET', `/v1/mailboxes/${address(i)}`)),
    'create a mailbox with its account': await costOf((i) => send('POST', '/v1/mailboxes', create(i))),
    'create one that is there': await costOf((i) => send('POST', '/v1/mailboxes', create(i)), 409),
    'put one that is as asked': await costOf((i) => send('PUT', `/v1/mailboxes/${address(i)}`, {})),
    'lock a mailbox': await costOf((i) => send('PATCH', `/v1/mailboxes/${address(i)}`, { locked: true })),
    'delete a mailbox': await costOf((i) => send('DELETE', `/v1/mailboxes/new${i}@${many.big}`)),
  }
  console.table(costs)
}

function send(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', url: string, payload?: object) {
  return app.inject({
    method,
    url,
    headers: { authorization: `Bearer ${token}` },
    ...(payload && { payload }),
  })
}

type Reply = Awaited<ReturnType<typeof send>>

/** One request after another, right after a checkpoint, so that the pages that they touch are logged whole once. */
async function costOf(request: (i: number) => Promise<Reply>, expected?: number) {
  const ask = async (i: number) => {
    const { statusCode: status, body } = await request(i)
    if (status !== (expected ?? status) || (status >= 400 && !expected)) throw new Error(`${status}: ${body}`)
  }
  for (let i = 1; i <= 100; i++) await ask(i)
  await admin.query('checkpoint')
  const [log, began, cpu] = [await logged(), statements, process.cpuUsage()]
  for (let i = 101; i <= 100 + requests; i++) await ask(i)
  const { user, system } = process.cpuUsage(cpu)
  const { bytes, pages } = await logged()
  return {
    statements: round((statements - began) / requests),
    'log bytes': round((bytes - log.bytes) / requests),
    'of them whole pages': round((pages - log.pages) / requests),
    'ms of processor': round((user + system) / 1000 / requests),
  }
}

async function logged(): Promise<{ bytes: number; pages: number }> {
  const { rows } = await admin.query(`
    select (pg_current_wal_insert_lsn() - '0/0')::float8 as bytes, wal_fpi::float8 as pages from pg_stat_wal`)
  return rows[0]
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
