import assert from 'node:assert/strict'
import type pg from 'pg'
import { type Client, outcome, type Reply, toReply } from './client.ts'
import { assertDeclared } from './contract.ts'
import { type Service, startService } from './service.ts'

// Two installations that differ in one thing: in one of them others have something too. Whatever belongs to them has a
// name or lies in a domain that begins with `f-`; nothing else does.

/** What the callers of the tests may have. `brand.jp` stands for `stub.jp`, which is nobody's of them, `a-brand.jp` for `a.jp`. */
export const ownDomains = ['a.jp', 'b.jp', 'gone.jp', 'brand.jp', 'a-brand.jp']

type Row = Record<string, unknown>

const begins = (value: unknown) => typeof value === 'string' && value.startsWith('f-')
const inForeign = ({ name, domain }: Row) => begins(domain) || (domain === 'stub.jp' && begins(name))
const ofForeign = ({ username }: Row) => /@f-|^f-.*@stub[.]jp$/.test(String(username))
const nobodys = () => false

/**
 * Which rows of each table are of others. A new table is entered here; one whose rows are the callers' own book-keeping,
 * or the installation's, has none.
 */
const foreignIn: Record<string, (row: Row) => boolean> = {
  'app.accounts': ({ name }) => begins(name),
  'app.addresses': inForeign,
  'app.aliases': inForeign,
  'app.audit_events': ({ domain, object }) => domain === null || inForeign({ name: object, domain }),
  'app.domains': ({ name }) => begins(name),
  'app.idempotency_keys': nobodys,
  'app.import_rows': ({ address }) => begins(address),
  'app.imports': ({ domains }) => (domains as string[]).some((domain) => domain === '*' || begins(domain)),
  'app.mailboxes': inForeign,
  'app.password_checks': nobodys,
  'app.rate_counters': nobodys,
  'app.settings': nobodys,
  'app.token_fuses': nobodys,
  'app.tokens': ({ domains }) => (domains as string[]).some((domain) => domain === '*' || begins(domain)),
  'app.verifiers': ({ name }) => begins(name),
  'mail.decoy_key': nobodys,
  'mail.last_login': ofForeign,
  'mail.usage': ofForeign,
}

/** Rows as they are in the tables, by table. */
export type Rows = Record<string, Row[]>

interface Table {
  name: string
  columns: string
}

export interface Worlds {
  /** With what others have. */
  full: Service
  /** Without. */
  bare: Service
  /** What `full` held at the beginning. */
  base: Rows
  /** Both as they were at the beginning. */
  reset(): Promise<void>
  /** Sends the same request to both, and returns what each answers, made comparable. */
  ask(request: Request, token: string): Promise<{ full: Reply; bare: Reply; answers: [unknown, unknown] }>
  /** Fails unless nothing of others was touched, and the callers' own is the same in both. */
  assertUntouched(): Promise<void>
}

export interface Request {
  method: string
  path: string
  body?: unknown
  headers?: Record<string, string>
}

/** `fill` makes what there is, with a client that may do everything. */
export async function startWorlds(fill: (service: Service, admin: Client) => Promise<void>): Promise<Worlds> {
  const full = await startService({ remembersTokens: false })
  const bare = await startService({ remembersTokens: false, keys: full.keys })
  await fill(full, await full.as())
  const tables = await listTables(full.admin)
  const base = await readRows(full.admin, tables)
  const known = knownTexts(base)
  const restore = async () => {
    await Promise.all([
      writeRows(full.admin, tables, base),
      writeRows(bare.admin, tables, withoutForeign(base)),
    ])
  }
  await restore()

  return {
    ...{ full, bare, base },
    reset: restore,
    async ask(request, token) {
      const [there, here] = await Promise.all([
        send(full.url, request, token),
        send(bare.url, request, token),
      ])
      return { full: there, bare: here, answers: [comparable(there, known), comparable(here, known)] }
    },
    async assertUntouched() {
      const [now, bareNow] = await Promise.all([readRows(full.admin, tables), readRows(bare.admin, tables)])
      assertSameLines(onlyForeign(now, base), onlyForeign(base, base), 'what is of others was touched')
      assertSameLines(
        sortedTexts(ownOf(now, base), known),
        sortedTexts(bareNow, known),
        'it left a difference',
      )
      assertSameLines(
        await readJobs(full.admin, known),
        await readJobs(bare.admin, known),
        'the jobs are not the same',
      )
    },
  }
}

async function listTables(admin: pg.Pool): Promise<Table[]> {
  const { rows } = await admin.query<Table>(
    `select table_schema || '.' || table_name as name, string_agg(quote_ident(column_name), ', ') as columns
     from information_schema.columns join information_schema.tables using (table_schema, table_name)
     where table_schema in ('app', 'mail') and table_type = 'BASE TABLE' and is_generated = 'NEVER'
       and table_name not like 'kysely%' and table_name not like 'migration%'
     group by 1 order by 1`,
  )
  const unknown = rows.filter(({ name }) => !Object.hasOwn(foreignIn, name)).map(({ name }) => name)
  assert.deepEqual(unknown, [], 'say in foreignIn which rows of these tables are of others')
  return rows
}

async function readRows(admin: pg.Pool, tables: Table[]): Promise<Rows> {
  const { rows } = await admin.query<{ name: string; rows: Row[] }>(
    tables
      .map(
        ({ name }) =>
          `select '${name}' as name, coalesce(jsonb_agg(to_jsonb(t)), '[]') as rows from ${name} as t`,
      )
      .join(' union all '),
  )
  return Object.fromEntries(rows.map((one) => [one.name, one.rows]))
}

/** In the place of what is there. Keys are not checked meanwhile: what is of others is referred to where it is not. */
async function writeRows(admin: pg.Pool, tables: Table[], rows: Rows): Promise<void> {
  const client = await admin.connect()
  try {
    await client.query('begin')
    await client.query('set local session_replication_role = replica')
    await client.query(
      [...tables.map(({ name }) => name), 'graphile_worker._private_jobs']
        .map((name) => `delete from ${name}`)
        .join(';'),
    )
    for (const { name, columns } of tables) {
      if (rows[name]?.length === 0) continue
      await client.query(
        `insert into ${name} (${columns}) select ${columns} from jsonb_populate_recordset(null::${name}, $1::jsonb)`,
        [JSON.stringify(rows[name])],
      )
    }
    await client.query('commit')
  } finally {
    client.release()
  }
}

function filterRows(rows: Rows, keeps: (table: string, row: Row) => boolean): Rows {
  return Object.fromEntries(
    Object.entries(rows).map(([table, all]) => [table, all.filter((row) => keeps(table, row))]),
  )
}

const isForeign = (table: string, row: Row) => foreignIn[table]!(row)

function withoutForeign(rows: Rows): Rows {
  return filterRows(rows, (table, row) => !isForeign(table, row))
}

/** An event that lies in no domain is the callers' own where it is new: they made it, and do not see it. */
function isOthers(base: Rows): (table: string, row: Row) => boolean {
  const before = new Set(base['app.audit_events']!.map(({ id }) => id))
  return (table, row) =>
    isForeign(table, row) && !(table === 'app.audit_events' && row.domain === null && !before.has(row.id))
}

/** But for what a rename left of a mailbox that is the callers' now: that goes where it goes. */
function onlyForeign(rows: Rows, base: Rows): string[] {
  const others = isOthers(base)
  const kept = filterRows(rows, (table, row) => others(table, row) && !/f-moved/.test(String(row.name)))
  return Object.entries(kept)
    .flatMap(([table, all]) => all.map(({ last_used_at, ...row }) => `${table} ${JSON.stringify(row)}`))
    .sort()
}

function ownOf(rows: Rows, base: Rows): Rows {
  const others = isOthers(base)
  return filterRows(rows, (table, row) => !others(table, row))
}

function sortedTexts(rows: Rows, known: Known): string[] {
  const shown = filterRows(rows, (table) => !volatile.has(table))
  return Object.entries(shown)
    .flatMap(([table, all]) =>
      all.map((row) => `${table} ${mask(JSON.stringify(withoutVerifier(row)), known)}`),
    )
    .sort()
}

/** They count by the clock, or keep answers whole. */
const volatile = new Set([
  'app.idempotency_keys',
  'app.password_checks',
  'app.rate_counters',
  'mail.decoy_key',
])

function withoutVerifier({ verifier, last_used_at, ...row }: Row): Row {
  return row
}

async function readJobs(admin: pg.Pool, known: Known): Promise<string[]> {
  const { rows } = await admin.query<{ text: string }>(
    `select t.identifier || ' ' || coalesce(j.key, '') || ' ' || j.payload::text as text
     from graphile_worker._private_jobs as j join graphile_worker._private_tasks as t on t.id = j.task_id order by 1`,
  )
  return rows.map(({ text }) => mask(text, known))
}

interface Known {
  ids: Set<string>
  since: number
}

const uuids = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
const times = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)/g

function knownTexts(base: Rows): Known {
  return { ids: new Set(JSON.stringify(base).match(uuids)), since: Date.now() }
}

/** Ids that were made since, and times since then, are each world's own. */
function mask(text: string, { ids, since }: Known): string {
  return text
    .replace(uuids, (id) => (ids.has(id) ? id : '<id>'))
    .replace(times, (time) => (Date.parse(time) < since ? time : '<time>'))
}

async function send(url: string, { method, path, body, headers }: Request, token: string): Promise<Reply> {
  const isImport = method === 'POST' && /^\/v1\/imports\b/.test(path) // a file of one row
  const response = await fetch(new URL(path, url), {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': isImport ? 'application/x-ndjson' : 'application/json' }),
      ...headers,
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const reply = { ...(await toReply(response)), etag: '' }
  assertDeclared(method, path, reply)
  return reply
}

const perRequest = new Set([
  'x-request-id',
  'date',
  'content-length',
  'keep-alive',
  'connection',
  'retry-after',
])
const ownOfEach = new Set([
  'generated_password',
  'token',
  'sealed_password',
  'instance',
  'as_of',
  'last_used_at',
])

/** The answer but for what differs by itself. */
function comparable({ status, headers, body }: Reply, known: Known): unknown {
  const others = [...headers].filter(([name]) => !perRequest.has(name))
  const text = JSON.stringify({ status, headers: others, body }, (name, value) =>
    ownOfEach.has(name) ? '<new>' : value,
  )
  const spelt = text.replace(
    /("next":"|cursor=)([\w-]+)/g,
    (_, before: string, cursor: string) =>
      before + JSON.stringify(String(Buffer.from(cursor, 'base64url'))).slice(1, -1),
  )
  return JSON.parse(mask(spelt, known).replace(/after \d+ seconds/g, 'after some seconds'))
}

export function assertMade(reply: Reply): Reply {
  assert.ok(reply.status < 300, `${outcome(reply)} ${JSON.stringify(reply.body)}`)
  return reply
}

/** Says only what differs. */
function assertSameLines(some: string[], others: string[], what: string): void {
  assert.deepEqual([without(some, others), without(others, some)], [[], []], what)
}

/** Lines may be there several times. */
function without(lines: string[], others: string[]): string[] {
  const left = [...others]
  return lines.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}
