-- When the usage of a mailbox changed, and when it was last compared with the mailbox itself: under parallel
-- deliveries Dovecot's counter can end a few messages short, so the service looks again after each change.
alter table mail.usage
  add column updated_at timestamptz not null default now(),
  add column checked_at timestamptz; -- null: never

create index usage_unchecked_idx on mail.usage (updated_at) where checked_at is null or checked_at < updated_at;

-- Dovecot's dictionary writes its own columns alone; a comparison by the service sets checked_at and is no change.
create function mail.note_change() returns trigger
  language plpgsql set search_path = ''
as $$
begin
  new.updated_at := clock_timestamp();
  return new;
end;
$$;
revoke all on function mail.note_change() from public;

create trigger usage_note_change before update on mail.usage
  for each row when (new.checked_at is not distinct from old.checked_at)
  execute function mail.note_change();

grant update (bytes, messages, checked_at) on mail.usage to mailwright_service;
