-- An address whose mail goes to others. With an empty name it is the catch-all of its domain.
create function app.are_targets(value text[]) returns boolean
  language sql immutable parallel safe
  return cardinality(value) between 1 and 100 and array_position(value, null) is null
    and cardinality(value) = (select count(distinct address) from unnest(value) as t (address))
    and not exists (
      select from unnest(value) as t (address) where t.address !~ '^[^@]+@[^@]+$' or length(t.address) > 254
    );
revoke all on function app.are_targets(text[]) from public;
grant execute on function app.are_targets(text[]) to mailwright_service;

create table app.aliases (
  name text collate "C" not null,
  domain text collate "C" not null,
  kind text not null default 'alias',
  targets text[] not null,                   -- in the order in which they were given
  forwarded text[] not null default '{}',    -- those of them that may be outside; the others stand for an address here
  send_as boolean not null default false,    -- whether the targets may send as the alias
  left_by uuid,                              -- the id of the mailbox that had this address before a rename
  version uuid not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint aliases_pkey primary key (name, domain),
  constraint aliases_kind_check check (kind = 'alias'),
  constraint aliases_targets_check check (app.are_targets(targets)),
  constraint aliases_forwarded_check check (forwarded <@ targets),
  constraint aliases_send_as_check check (name <> '' or not send_as),
  constraint aliases_address_fkey foreign key (name, domain, kind) references app.addresses (name, domain, kind)
    on delete cascade
);
create index aliases_domain_idx on app.aliases (domain, name);
create index aliases_left_by_idx on app.aliases (left_by) where left_by is not null;
-- without a list of what is still to be added, which every look-up would read from end to end
create index aliases_targets_idx on app.aliases using gin (targets) with (fastupdate = off);
grant select, insert, update, delete on app.aliases to mailwright_service;
grant select on app.aliases to mailwright_definer;

-- The aliases that mail to this one passes: itself at depth 0, then those among its targets, and so on, as far as they
-- lie in `visible` (null: everywhere). One at a depth of more than 0 that is itself closes a loop. Beyond the sixth
-- there is too much of it anyway.
create function app.aliases_below(of_name text, of_domain text, visible text[])
  returns table (name text, domain text, depth integer)
  language sql stable
as $$
  with recursive below (name, domain, depth) as (
    select of_name collate "C", of_domain collate "C", 0
    union
    select b.name, b.domain, below.depth + 1
    from below
      join app.aliases as a on a.name = below.name and a.domain = below.domain
      cross join lateral unnest(a.targets) as t (address)
      join app.domains as d on d.name = split_part(t.address, '@', 2)
      join app.aliases as b
        on b.name = mail.name_of(split_part(t.address, '@', 1)) and b.domain = coalesce(d.alias_of, d.name)
    where below.depth < 6 and b.name <> '' and (visible is null or d.name = any (visible) and b.domain = any (visible))
  )
  select below.name, below.domain, below.depth from below
$$;

-- The other way: the aliases whose mail comes to this one.
create function app.aliases_above(of_name text, of_domain text, visible text[])
  returns table (name text, domain text, depth integer)
  language sql stable
as $$
  with recursive above (name, domain, depth) as (
    select of_name collate "C", of_domain collate "C", 0
    union
    select a.name, a.domain, above.depth + 1
    from above
      -- offset 0: first its addresses, and then one probe of the index for each, whatever the planner expects
      cross join lateral (
        select above.name || '@' || d.name as address from app.domains as d where d.name = above.domain
        union all
        select above.name || '@' || d.name from app.domains as d
        where d.alias_of = above.domain and (visible is null or d.name = any (visible))
        offset 0
      ) as x
      cross join lateral (
        -- in the collation of the index, which is of no use otherwise
        select a.name, a.domain from app.aliases as a
        where a.targets @> array[x.address collate "default"] offset 0
      ) as a
    where above.depth < 6 and above.name <> '' and (visible is null or a.domain = any (visible))
  )
  select above.name, above.domain, above.depth from above
$$;
revoke all on function app.aliases_below(text, text, text[]), app.aliases_above(text, text, text[]) from public;
grant execute on function app.aliases_below(text, text, text[]), app.aliases_above(text, text, text[])
  to mailwright_service;

-- One step of mail on its way: where an address has a mailbox that keeps it, it has arrived, and these are the addresses
-- that it goes to. `known`: it stood for an address here when it became a target, so that nothing but that address will do: not the
-- catch-all, and not a domain outside that has the name now.
create function mail.step(local_part text, domain text, known boolean)
  returns table (next_local_part text, next_domain text, next_known boolean, arrived boolean)
  language plpgsql stable set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  hit record;
begin
  select d.state, d.accepts_mail, d.alias_of, t.accepts_mail as target_accepts_mail, x.kind, m.state as mailbox_state,
    m.delivery, m.keep_copy, m.forward_to, m.forwarded,
    coalesce(d.postmaster_address, s.postmaster_address) as postmaster_address
  into hit
  from app.domains as d
    cross join app.settings as s
    left join app.domains as t on t.name = d.alias_of
    left join app.addresses as x on x.name = wanted and x.domain = coalesce(d.alias_of, d.name)
    left join app.mailboxes as m on m.name = x.name and m.domain = x.domain
  where d.name = domain;
  next_local_part := local_part;
  next_domain := domain;
  next_known := known;
  arrived := true;
  if not found then
    if not known then return next; end if; -- outside
    return;
  end if;
  if hit.state <> 'active' or known and (wanted = '' or hit.kind is null or hit.mailbox_state = 'deleted') then
    return;
  end if;
  if not hit.accepts_mail then
    return next; -- the mail of a domain that does not accept it yet goes to whoever does now
    return;
  end if;
  if hit.mailbox_state = 'active' and hit.alias_of is null then
    if hit.delivery = 'refuse' then
      return;
    end if;
    if hit.forward_to = '{}' then
      return next;
      return;
    end if;
    if hit.keep_copy then
      next_local_part := wanted; -- a copy for each detail would be several
      return next;
    end if;
    return query
      select split_part(t.address, '@', 1), split_part(t.address, '@', 2), t.address <> all (hit.forwarded), false
      from unnest(hit.forward_to) as t (address);
    return;
  end if;
  arrived := false;
  if hit.alias_of is not null then
    next_domain := hit.alias_of;
    next_known := known or not hit.target_accepts_mail; -- whoever has that mail now has no use for what is not there
    return next;
    return;
  end if;
  if wanted in ('postmaster', 'abuse') and hit.kind is distinct from 'alias' and hit.postmaster_address is not null then
    next_local_part := split_part(hit.postmaster_address, '@', 1);
    next_domain := split_part(hit.postmaster_address, '@', 2);
    next_known := false;
    return next;
    return;
  end if;
  if hit.kind = 'mailbox' then
    return; -- deleted; the catch-all does not get its mail
  end if;
  return query
    select split_part(t.address, '@', 1), split_part(t.address, '@', 2), t.address <> all (a.forwarded), false
    from app.aliases as a cross join lateral unnest(a.targets) as t (address)
    where a.domain = domain and a.name = case when hit.kind is null then '' else wanted end;
end;
$$;

-- Where mail for an address arrives in the end. A loop ends by itself, since no step is taken twice; and however wide
-- somebody spreads his aliases, the answer comes in time.
create function mail.recipients(local_part text, domain text, known boolean) returns setof text
  language plpgsql stable set search_path = ''
as $$
#variable_conflict use_variable
begin
  return query
    with recursive way (local_part, domain, known, arrived) as (
      select * from mail.step(local_part, domain, known)
      union
      select s.*
      from way as w cross join lateral mail.step(w.local_part, w.domain, w.known) as s
      where not w.arrived
    )
    select distinct w.local_part || '@' || w.domain
    from (select * from way limit 12000) as w
    where w.arrived;
end;
$$;
revoke all on function mail.step(text, text, boolean), mail.recipients(text, text, boolean) from public;
grant execute on function mail.step(text, text, boolean), mail.recipients(text, text, boolean)
  to mailwright_definer, mailwright_service;
grant execute on function mail.name_of(text) to mailwright_service;
