-- What a session that was open at a purge or a lock may still do.

-- Its counts come after the purge has removed the row. They must not stand for the mailbox that is made anew under the
-- address, so what no mailbox has any more is not written.
create function mail.drop_unknown() returns trigger
  language plpgsql security definer set search_path = ''
as $$
declare
  at_sign integer := coalesce(position('@' in new.username), 0);
begin
  if exists (
    select from app.mailboxes as m
    where m.name = left(new.username, at_sign - 1) and m.domain = substr(new.username, at_sign + 1)
  ) then
    return new;
  end if;
  return null;
end;
$$;
revoke all on function mail.drop_unknown() from public;

create trigger usage_drop_unknown before insert on mail.usage
  for each row execute function mail.drop_unknown();
create trigger last_login_drop_unknown before insert on mail.last_login
  for each row execute function mail.drop_unknown();

-- Dovecot ends its own sessions, Postfix has no such command: who logged in for submission before the lock finds no
-- sender that is his any more.
grant create on schema mail to mailwright_definer;
alter function mail.drop_unknown() owner to mailwright_definer;
set local role mailwright_definer; -- the owner replaces it
create or replace function mail.sender_login(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  wanted_domain text := lower(domain collate "C");
begin
  return query
    select m.name || '@' || m.domain
    from app.mailboxes as m
      join app.domains as d on d.name = m.domain
      join app.accounts as a on a.name = m.name
    where m.name = wanted and m.domain = wanted_domain
      and m.state = 'active' and d.state = 'active' and a.state = 'active'
      and not m.locked and not d.locked and not a.disabled;
end;
$$;
reset role;
revoke create on schema mail from mailwright_definer;

-- Those compared longest ago, to be compared once more: a count that is lost leaves no mark.
create index usage_checked_at_idx on mail.usage (checked_at);
