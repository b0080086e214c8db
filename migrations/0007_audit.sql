-- As the types of the first migration: the rules of single columns.
create domain app.event_action as text collate "C" constraint event_action_check check (value ~ '^[a-z]+\.[a-z-]+$');
create domain app.event_kind as text collate "C" constraint event_kind_check
  check (value in ('server', 'domain', 'mailbox', 'account', 'alias', 'token', 'import'));
create domain app.event_level as text constraint event_level_check check (value in ('info', 'alert'));
create domain app.event_members as jsonb constraint event_members_check check (jsonb_typeof(value) = 'object');

-- Who did what: one row for each change, written in the transaction of the change, never changed afterwards. The
-- service's role may add and read. Nothing here is ever a secret: of a password it says only that it was set.
create table app.audit_events (
  name text collate "C" not null,            -- of the account or the local part; '' where the object has none
  at timestamptz not null default clock_timestamp(), -- read while the object is locked: in the order of its changes
  id uuid not null default gen_random_uuid(),
  action app.event_action not null,          -- kind.verb
  kind app.event_kind not null,
  object text collate "C" not null,          -- an address, a name or an id; '' for the server
  domain text collate "C",                   -- whose holders may see it; null: callers with all domains alone
  level app.event_level not null default 'info',
  subject text collate "C",                  -- with issuer: who the token named; null: the service itself
  issuer text collate "C",
  token_id text collate "C",
  address text,                              -- of the client
  request_id text,
  before app.event_members,                  -- the members that changed; null: it was not there
  after app.event_members,                   -- null: it is not there any more
  constraint audit_events_pkey primary key (name, at, id),
  constraint audit_events_subject_check check ((subject is null) = (issuer is null))
);
-- a page of each filter is read from one index, in its order
create index audit_events_at_idx on app.audit_events (at, id);
create index audit_events_object_idx on app.audit_events (object, at, id) where name = '';
create index audit_events_domain_idx on app.audit_events (domain, at, id) where domain is not null;
create index audit_events_subject_idx on app.audit_events (subject, at, id) where subject is not null;
create index audit_events_action_idx on app.audit_events (action, at, id);

-- The members of one object that another has not, or has with another value: called both ways it tells a change.
create function app.members_not_in(one jsonb, other jsonb) returns jsonb
  language sql immutable parallel safe
  return (
    select coalesce(jsonb_object_agg(e.key, e.value), '{}')
    from jsonb_each(one) as e where other -> e.key is distinct from e.value
  );
revoke all on function app.members_not_in(jsonb, jsonb) from public;
grant execute on function app.members_not_in(jsonb, jsonb) to mailwright_service;

grant select, insert on app.audit_events to mailwright_service;
