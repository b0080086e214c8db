-- How many checks of a password an account has left, on all replicas together. `full_at` is when it has all of them
-- again (the generic cell rate algorithm): each failed check puts it off by as long as one check takes to come back.
-- There is a row for names without an account too, so that it tells nothing. Rows whose time is over are swept.
create table app.password_checks (
  account bytea not null,                    -- SHA-256 of the name: what was sent may be a password in the wrong place
  found boolean not null,                    -- of callers who see the account; what others ask costs these nothing
  full_at timestamptz not null,
  constraint password_checks_pkey primary key (account, found),
  constraint password_checks_account_check check (length(account) = 32)
);
grant select, insert, update, delete on app.password_checks to mailwright_service;

-- The verifier that one password is checked against; null where the account is not active or has none. One that was made
-- elsewhere has its scheme before it, as Dovecot writes it.
create function app.verifier_for_check(account_name text) returns text
  language sql stable security definer set search_path = ''
begin atomic
  select coalesce('{' || v.scheme || '}', '') || v.verifier
  from app.verifiers as v join app.accounts as a on a.name = v.name
  where v.name = account_name and v.mechanism = 'ARGON2ID' and a.state = 'active';
end;

revoke all on function app.verifier_for_check(text) from public;
grant execute on function app.verifier_for_check(text) to mailwright_service;
-- a new owner of a function needs CREATE on its schema, at that moment only
grant create on schema app to mailwright_definer;
alter function app.verifier_for_check(text) owner to mailwright_definer;
revoke create on schema app from mailwright_definer;
