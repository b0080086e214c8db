-- How often something happened to a caller in the minute that began with started_at, over all replicas. Unlogged: what
-- a crash forgets is a minute's count.
create unlogged table app.rate_counters (
  kind text collate "C" not null,
  issuer text collate "C" not null,           -- who the token names: a subject is unique only within its issuer
  subject text collate "C" not null,
  count integer not null,
  started_at timestamptz not null,
  constraint rate_counters_pkey primary key (kind, issuer, subject),
  constraint rate_counters_kind_check check (kind in ('name-taken')),
  constraint rate_counters_count_check check (count > 0)
);

grant select, insert, update, delete on app.rate_counters to mailwright_service;
