-- Distributes the tables of an installation, empty or full, over a Citus cluster: psql -v ON_ERROR_STOP=1 -f citus.sql
-- on the coordinator, as the owner of the tables, while the service is stopped, after its migrations have run.
-- What it takes and what is given up: docs/scaling.md. Read that first: the service itself does not run on Citus yet.
--
-- Written against the documentation of Citus 13.0. No Citus was at hand when this was written (Debian, npm and PyPI
-- have none), so that this file has never run on one. test/citus.test.ts runs it on plain Postgres with functions of
-- these names in the place of Citus's, and holds the catalogue against the documented rules
-- (https://docs.citusdata.com/en/v13.0/develop/reference_ddl.html):
--   a primary key or unique index of a distributed table contains its distribution column;
--   foreign keys lead to a reference table, or between colocated tables by the distribution column;
--   no triggers; grants on tables, not on columns.

begin;
-- Foreign keys and copies within one transaction: all by one connection to each worker, one after another.
set local citus.multi_shard_modify_mode to 'sequential';

-- The one uniqueness that is given up: of an id that is random. By name a mailbox stays unique in the whole cluster,
-- by mailboxes_pkey and addresses_name_key, since all rows of a name lie in one shard.
alter table app.mailboxes drop constraint mailboxes_id_key;
create index mailboxes_id_idx on app.mailboxes (id);

-- Citus before 13.1 hands on what is granted on a table, and nothing of its columns.
revoke update (mechanisms) on app.accounts from mailwright_definer;
grant update on app.accounts to mailwright_definer;

-- A foreign key can only be made when both of its tables are distributed.
create temporary table foreign_keys on commit drop as
  select conrelid::regclass::text as source, conname as name, pg_get_constraintdef(oid) as definition
  from pg_constraint
  where contype = 'f' and conrelid in (
    'app.domains'::regclass, 'app.accounts'::regclass, 'app.addresses'::regclass, 'app.mailboxes'::regclass,
    'app.verifiers'::regclass, 'app.aliases'::regclass, 'app.audit_events'::regclass
  );
do $$
declare
  k record;
begin
  for k in select * from foreign_keys loop
    execute format('alter table %s drop constraint %I', k.source, k.name);
  end loop;
end;
$$;

select create_reference_table('app.domains');
-- All that belongs to a name lies together, whatever domain it is of.
select create_distributed_table('app.accounts', 'name');
select create_distributed_table('app.addresses', 'name', colocate_with => 'app.accounts');
select create_distributed_table('app.mailboxes', 'name', colocate_with => 'app.accounts');
select create_distributed_table('app.verifiers', 'name', colocate_with => 'app.accounts');
select create_distributed_table('app.aliases', 'name', colocate_with => 'app.accounts');
select create_distributed_table('app.audit_events', 'name', colocate_with => 'app.accounts');

do $$
declare
  k record;
begin
  for k in select * from foreign_keys loop
    execute format('alter table %s add constraint %I %s', k.source, k.name, k.definition);
  end loop;
end;
$$;
commit;

-- Everything else stays on the coordinator: settings, tokens, idempotency keys, imports, counters, jobs, and what the
-- mail servers write (mail.usage, mail.last_login), with the triggers that some of it has.

-- The rows that were copied are still in the coordinator's own tables, which nobody reads any more.
select truncate_local_data_after_distributing_table('app.audit_events');
select truncate_local_data_after_distributing_table('app.aliases');
select truncate_local_data_after_distributing_table('app.verifiers');
select truncate_local_data_after_distributing_table('app.mailboxes');
select truncate_local_data_after_distributing_table('app.addresses');
select truncate_local_data_after_distributing_table('app.accounts');
select truncate_local_data_after_distributing_table('app.domains');
