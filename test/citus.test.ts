import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { cloneDatabase } from './support/service.ts'

// deploy/citus.sql on plain Postgres, with functions of the same names in the place of Citus's, which only write down
// what they are called with. Whether Citus would take it is judged by its documented rules over the catalogue
// (https://docs.citusdata.com/en/v13.0/develop/reference_ddl.html).

const file = readFileSync(new URL('../deploy/citus.sql', import.meta.url), 'utf8')

const standIn = `
  create table public.distributed (relation regclass primary key, key text, beside regclass, emptied boolean not null default false);
  create function public.create_reference_table(t regclass) returns void
    language sql as 'insert into public.distributed values (t)';
  create function public.create_distributed_table(t regclass, key text, colocate_with text default null) returns void
    language sql as 'insert into public.distributed values (t, key, colocate_with::regclass)';
  create function public.truncate_local_data_after_distributing_table(t regclass) returns void
    language sql as 'update public.distributed set emptied = true where relation = t'`

const relations = `select d.*, c.relname from public.distributed as d join pg_class as c on c.oid = d.relation`

const database = await cloneDatabase()
const client = new pg.Client(database.adminUrl)
await client.connect()
after(async () => {
  await client.end()
  await database.drop()
})

async function strings(query: string): Promise<string[]> {
  const { rows } = await client.query<string[]>({ text: query, rowMode: 'array' })
  return rows.map(([text]) => text ?? '')
}

const keys = (type: 'f' | 'u' | 'p') =>
  strings(`
    select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated
    from pg_constraint where contype = '${type}' and connamespace::regnamespace::text in ('app', 'mail') order by 1`)

let foreign: string[] = []
let unique: string[] = []
before(async () => {
  await client.query(standIn)
  foreign = await keys('f')
  unique = await keys('u')
  await client.query(file)
})

/** A new table belongs here, and where it holds something of names or domains, into deploy/citus.sql. */
const places: Record<string, string> = {
  'app.domains': 'every node',
  'app.accounts': 'shards by name',
  'app.addresses': 'shards by name beside app.accounts',
  'app.mailboxes': 'shards by name beside app.accounts',
  'app.verifiers': 'shards by name beside app.accounts',
  'app.aliases': 'shards by name beside app.accounts',
  'app.audit_events': 'shards by name beside app.accounts',
  'app.settings': 'coordinator',
  'app.tokens': 'coordinator',
  'app.token_fuses': 'coordinator',
  'app.idempotency_keys': 'coordinator',
  'app.imports': 'coordinator',
  'app.import_rows': 'coordinator',
  'app.password_checks': 'coordinator',
  'app.rate_counters': 'coordinator',
  'mail.usage': 'coordinator',
  'mail.last_login': 'coordinator',
  'mail.decoy_key': 'coordinator',
}

test('every table has its place', async () => {
  const { rows } = await client.query(`
    select c.oid::regclass::text as name, case when d.relation is null then 'coordinator'
      when d.key is null then 'every node'
      else 'shards by ' || d.key || coalesce(' beside ' || d.beside, '') end as place
    from pg_class as c left join public.distributed as d on d.relation = c.oid
    where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text in ('app', 'mail')
      and c.relname not like 'migration%'`)
  assert.deepEqual(Object.fromEntries(rows.map(({ name, place }) => [name, place])), places)
})

test('what is unique in the cluster is so within a shard', async () => {
  const faults = await strings(`
    select i.indexrelid::regclass::text
    from (${relations}) as d join pg_index as i on i.indrelid = d.relation
      join pg_attribute as a on a.attrelid = d.relation and a.attname = d.key
    where (i.indisunique or i.indisexclusion) and not a.attnum = any (i.indkey[0:i.indnkeyatts - 1])`)
  assert.deepEqual(faults, [])
})

test('colocated rows have keys of one type and collation', async () => {
  const kinds = await strings(`
    select distinct a.atttypid::regtype || ' ' || a.attcollation::regcollation
    from (${relations}) as d join pg_attribute as a on a.attrelid = d.relation and a.attname = d.key`)
  assert.deepEqual(kinds, ['text "C"'])
})

test('foreign keys lead to tables that are on every node, or stay in the shard', async () => {
  const faults = await strings(`
    select c.conname
    from pg_constraint as c
      left join public.distributed as s on s.relation = c.conrelid
      left join public.distributed as t on t.relation = c.confrelid
      left join pg_attribute as a on a.attrelid = c.conrelid and a.attname = s.key
      left join pg_attribute as b on b.attrelid = c.confrelid and b.attname = t.key
    where c.contype = 'f' and (s.relation is not null or t.relation is not null) and not coalesce(case
      when t.relation is not null and t.key is null then true -- to one on every node
      else s.key is not null and exists (
        select from unnest(c.conkey, c.confkey) as k (source, target) where k.source = a.attnum and k.target = b.attnum
      ) end, false)`)
  assert.deepEqual(faults, [])
})

test('no trigger, no grant on columns, no sequence and no rule stands on what is distributed', async () => {
  const faults = await strings(`
    select 'trigger ' || g.tgname from (${relations}) as d join pg_trigger as g on g.tgrelid = d.relation
      where not g.tgisinternal
    union all
    select 'grant ' || d.relation || '.' || a.attname from (${relations}) as d
      join pg_attribute as a on a.attrelid = d.relation where a.attacl is not null and a.attacl <> '{}'
    union all
    select 'identity ' || d.relation from (${relations}) as d
      join pg_attribute as a on a.attrelid = d.relation where a.attidentity <> ''
    union all
    select 'rule ' || r.rulename from (${relations}) as d join pg_rewrite as r on r.ev_class = d.relation`)
  assert.deepEqual(faults, [])
})

test('every foreign key is there again, and of the unique ones the id of mailboxes alone is given up', async () => {
  assert.ok(foreign.length >= 5)
  assert.deepEqual(await keys('f'), foreign)
  const left = await keys('u')
  assert.deepEqual(
    unique.filter((key) => !left.includes(key)).map((key) => key.split(' ')[1]),
    ['mailboxes_id_key'],
  )
})

test('no rows are left behind on the coordinator', async () => {
  assert.deepEqual(await strings('select relation::text from public.distributed where not emptied'), [])
})
