-- The counts of a session that was open at a purge come after it has removed the row. They must not stand for the
-- mailbox that is made anew under the address, so what no mailbox has any more is not written.
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

grant create on schema mail to mailwright_definer;
alter function mail.drop_unknown() owner to mailwright_definer;
revoke create on schema mail from mailwright_definer;

-- Those compared longest ago, to be compared once more: a count that is lost leaves no mark.
create index usage_checked_at_idx on mail.usage (checked_at);
