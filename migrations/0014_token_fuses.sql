-- What a token with limits has used up, one row for each kind of thing. It is added to in the transaction of the write that
-- counts, so that the writes of all replicas that draw on one limit come one after another, here alone.
create table app.token_fuses (
  token uuid not null,
  kind text collate "C" not null,
  day date not null,                         -- UTC; count is of this day
  count integer not null,
  allowed integer not null,                  -- the limit of the token, which never changes
  blown_at timestamptz,                      -- more was wanted than was left; until somebody resets it nothing is
  constraint token_fuses_pkey primary key (token, kind),
  constraint token_fuses_token_fkey foreign key (token) references app.tokens (id) on delete cascade,
  constraint token_fuses_kind_check check (kind in ('deletes', 'locks', 'password_sets')),
  constraint token_fuses_count_check check (count between 0 and allowed)
);

-- Never deleted by the service: a reset that took the row away could be overtaken by a refusal that puts it back.
grant select, insert, update (day, count, blown_at) on app.token_fuses to mailwright_service;
