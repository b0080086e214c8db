-- A bearer token that POST /v1/tokens made. The token itself is a JWT that names this row and nothing else of what is
-- here: it is valid only while the row is, and what it allows is what the row says. It is kept nowhere.

create function app.are_token_domains(value text[]) returns boolean
  language sql immutable parallel safe
  return value = '{*}' or (
    cardinality(value) > 0 and array_position(value, null) is null
      and not exists (select from unnest(value) as t (domain) where not app.is_domain_name(domain))
  );

create table app.tokens (
  id uuid not null,                          -- the jti
  parent uuid,                               -- the token it was made with; null: made by another kind of caller
  ancestors uuid[] not null default '{}',    -- the parent last, before it the parent's own
  label text not null,
  scopes text[] not null,
  domains text[] not null,                   -- {*}: all
  allowed_ips cidr[],                        -- null: from anywhere
  password_delivery text not null default 'any',
  deletes_per_day integer,                   -- what it may do in a UTC day, with all that were made with it; null: no limit
  locks_per_day integer,
  password_sets_per_day integer,
  created_by text not null,                  -- the subject of the caller that made it
  created_at timestamptz not null,           -- its whole second is the iat
  expires_at timestamptz not null,
  revoked_at timestamptz,                    -- by itself; that of an ancestor counts as well
  last_used_at timestamptz,                  -- a minute late at most
  version uuid not null default gen_random_uuid(),
  constraint tokens_pkey primary key (id),
  constraint tokens_parent_fkey foreign key (parent) references app.tokens (id),
  constraint tokens_ancestors_check check (parent is not distinct from ancestors[cardinality(ancestors)]),
  constraint tokens_generation_check check (cardinality(ancestors) < 10),
  constraint tokens_label_check check (length(label) between 1 and 200),
  constraint tokens_scopes_check check (cardinality(scopes) > 0 and array_position(scopes, null) is null),
  constraint tokens_domains_check check (app.are_token_domains(domains)),
  constraint tokens_allowed_ips_check check (cardinality(allowed_ips) > 0),
  constraint tokens_password_delivery_check check (password_delivery in ('any', 'sealed')),
  constraint tokens_limits_check
    check (deletes_per_day >= 0 and locks_per_day >= 0 and password_sets_per_day >= 0),
  constraint tokens_created_at_check check (created_at = date_trunc('milliseconds', created_at)),
  constraint tokens_expires_at_check check (
    expires_at > created_at and expires_at <= created_at + interval '366 days'
  )
);
create index tokens_created_at_idx on app.tokens (created_at, id);
create index tokens_expires_at_idx on app.tokens (expires_at);
create index tokens_parent_idx on app.tokens (parent) where parent is not null;

-- What has become of each token. An ancestor's end is its own, so that revoking is one row and no child that is made at
-- the same moment can escape it.
create view app.token_states as
  select t.id, t.parent, t.ancestors, t.label, t.scopes, t.domains, t.allowed_ips, t.password_delivery,
    t.deletes_per_day, t.locks_per_day, t.password_sets_per_day, t.created_by, t.created_at, t.expires_at, t.last_used_at, t.version, ended.at as revoked_at,
    case when ended.at is not null then 'revoked' when t.expires_at <= now() then 'expired' else 'active' end as state
  from app.tokens as t
    cross join app.settings as s
    cross join lateral (
      select least(
        min(o.revoked_at), case when date_trunc('second', t.created_at) < s.tokens_not_before then s.tokens_not_before end
      ) as at
      from app.tokens as o where o.id = t.id or o.id = any (t.ancestors)
    ) as ended;

-- Tells every replica, when the change is committed, that what it remembers of tokens may be wrong. A trigger, so that
-- it holds for an administrator's own statement too.
create function app.tell_tokens_changed() returns trigger
  language plpgsql set search_path = ''
as $$
begin
  perform pg_catalog.pg_notify('mailwright_tokens', '');
  return null;
end;
$$;
create trigger tokens_tell after update of revoked_at, expires_at or delete on app.tokens
  for each statement execute function app.tell_tokens_changed();
create trigger settings_tell after update of tokens_not_before on app.settings
  for each statement execute function app.tell_tokens_changed();

revoke all on function app.are_token_domains(text[]), app.tell_tokens_changed() from public;
grant execute on function app.are_token_domains(text[]) to mailwright_service;

-- What a token allows is never changed, only ended.
grant select, insert, delete, update (revoked_at, last_used_at, version) on app.tokens to mailwright_service;
grant select on app.token_states to mailwright_service;
