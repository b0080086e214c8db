-- Bulk work that was sent in one request and is done row by row, in the rights of whoever sent it. A replica that works on
-- one holds it for a moment (worker, leased_until) and writes down how far it has come (done_line) in the transaction of
-- the rows themselves: whoever goes on after it begins there, so that no row is done twice and none is lost.
create table app.imports (
  id uuid not null default gen_random_uuid(),
  state text not null default 'receiving',   -- receiving: the rows are still coming in; the API does not show it
  dry_run boolean not null,
  on_error text not null,
  subject text not null,                     -- with issuer: who sent it
  issuer text not null,
  token_id text,
  payer_issuer text not null,                -- whose budgets it uses
  payer_id text not null,
  stored_token uuid,                         -- one of app.tokens, which may be revoked meanwhile
  scopes text[] not null,
  domains text[] not null,                   -- {*}: all
  password_delivery text,
  address text,
  request_id text not null,
  rows integer not null default 0,
  last_line integer not null default 0,
  done_line integer not null default 0,      -- all rows up to this line are done
  counts jsonb not null default '{}',        -- of the rows done: how many by outcome
  problem jsonb,                             -- why it failed
  cleared boolean not null default true,     -- false: rows that will not be done still hold what was sent
  worker uuid,
  leased_until timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  constraint imports_pkey primary key (id),
  constraint imports_state_check check (state in ('receiving', 'queued', 'running', 'completed', 'failed', 'cancelled')),
  constraint imports_on_error_check check (on_error in ('continue', 'stop')),
  constraint imports_finished_at_check check ((finished_at is not null) = (state in ('completed', 'failed', 'cancelled'))),
  constraint imports_done_line_check check (done_line between 0 and last_line)
);
create index imports_created_at_idx on app.imports (created_at, id);
create index imports_open_idx on app.imports (leased_until nulls first) where state in ('queued', 'running') or not cleared;

-- What was sent, and what became of it. `content` and `sealed` are gone once the row is done.
create table app.import_rows (
  import uuid not null,
  line integer not null,                     -- the line of the file that the row begins on
  operation text not null,
  address text not null,                     -- as it was sent, then as it is
  content text,                              -- JSON, without passwords and hashes
  sealed text,                               -- these, encrypted under the installation's key (RFC 7516)
  names text[],                              -- that the row is about; kept for a dry run alone
  status text,                               -- null: not done
  clear_text text,                           -- the login names
  secure_password text,
  problem jsonb,
  constraint import_rows_pkey primary key (import, line),
  constraint import_rows_import_fkey foreign key (import) references app.imports (id) on delete cascade,
  constraint import_rows_status_check check (
    status in ('created', 'updated', 'unchanged', 'deleted', 'restored', 'renamed', 'failed')
  )
) with (fillfactor = 70);
create index import_rows_names_idx on app.import_rows using gin (names) where names is not null;

grant select, insert, update, delete on app.imports, app.import_rows to mailwright_service;
