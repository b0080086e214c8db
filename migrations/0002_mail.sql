-- What Postfix and Dovecot ask the database: an API of its own beside HTTP.
--
-- The mail servers log in as mail_read, which may call the functions below and nothing else, so that nobody
-- lists addresses or dumps verifiers with its password. Usage and last logins are written as mail_write.
--
-- The rules of every function here:
-- * It never raises. Postfix takes any SQL error for a dead database and asks it nothing for a minute
--   (dict_pgsql.c, RETRY_INTERVAL), so one odd address would stop all mail: what cannot be an address has no row.
-- * plpgsql: the mail servers use the simple query protocol, and only plpgsql keeps its plans there.
-- * Columns are named with their table and variables win, so that a column added later makes no name ambiguous.
-- * Every table is probed once, by its primary key.
-- * Names are compared in the collation "C", where lower() touches ASCII alone; all our names are ASCII.

create schema mail;
revoke all on schema mail from public;

-- A new owner of a function needs CREATE on its schema, at that moment only.
grant create on schema mail to mailwright_definer;
grant usage on schema mail to mailwright_definer, mailwright_service, mail_read, mail_write;
grant select on app.addresses to mailwright_definer;

-- The keys of an HMAC (RFC 2104 §2: K XOR ipad, K XOR opad) with a random K of 256 bits. Only mail.decoy reads them.
create table mail.decoy_key (
  singleton boolean not null default true,
  inner_key bytea not null,
  outer_key bytea not null,
  constraint decoy_key_pkey primary key (singleton),
  constraint decoy_key_singleton_check check (singleton),
  constraint decoy_key_length_check check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
insert into mail.decoy_key (inner_key, outer_key)
  select
    string_agg(set_byte('\x00', 0, get_byte(k.padded, i) # x'36'::int), '' order by i),
    string_agg(set_byte('\x00', 0, get_byte(k.padded, i) # x'5c'::int), '' order by i)
  from
    (
      -- a random UUID has 122 random bits from the server's cryptographic source
      select sha256(
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
      ) || decode(repeat('00', 32), 'hex') as padded
    ) as k,
    generate_series(0, 63) as i;
grant select on mail.decoy_key to mailwright_definer;

-- A verifier that no password fits. It depends on nothing but the name, so that a login that is unknown, locked,
-- disabled or deleted answers like one with a wrong password. Where the account has a verifier (`actual`), the decoy
-- keeps all of it that a client can see or time, that is parameters and salt, so that a lock cannot be seen either.
-- The parameters of new Argon2id verifiers are those of src/accounts/verifiers.ts; a test compares them.
create function mail.decoy(name text, kind text, actual text, scram_iterations integer) returns text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  salt bytea;
  first_key bytea;
  second_key bytea;
begin
  select
    -- RFC 2104 §2: H(K XOR opad, H(K XOR ipad, text))
    substr(sha256(k.outer_key || sha256(k.inner_key || convert_to('salt ' || kind || ' ' || name, 'UTF8'))), 1, 16),
    sha256(k.outer_key || sha256(k.inner_key || convert_to('first ' || kind || ' ' || name, 'UTF8'))),
    sha256(k.outer_key || sha256(k.inner_key || convert_to('second ' || kind || ' ' || name, 'UTF8')))
  into salt, first_key, second_key
  from mail.decoy_key as k;
  if kind = 'CRAM-MD5' then
    return encode(first_key, 'hex');
  end if;
  if kind = 'SCRAM-SHA-256' then
    return coalesce(substring(actual from '^[^,]*,[^,]*'), scram_iterations || ',' || encode(salt, 'base64'))
      || ',' || encode(first_key, 'base64') || ',' || encode(second_key, 'base64');
  end if;
  -- the base64 of the PHC string format has no padding
  return coalesce(
      substring(actual from '^.*[$]'),
      '$argon2id$v=19$m=7168,t=5,p=1$' || rtrim(encode(salt, 'base64'), '=') || '$'
    ) || rtrim(encode(first_key, 'base64'), '=');
end;
$$;

-- Where the mail of a mailbox lies, below the folder that the mail servers are given.
create function mail.home(id uuid) returns text
  language sql immutable parallel safe
  return left(id::text, 2) || '/' || id::text;

-- RFC 5233: the part of a local part before the separator; names never hold `+`.
create function mail.name_of(local_part text) returns text
  language sql immutable parallel safe
  return lower(split_part(local_part, '+', 1) collate "C");

-- Dovecot's password query: always one row, the verifier that fits the mechanism or a decoy; none for a mechanism
-- that is not ours. Who may log in from or until a moment is judged by the clock here, so that no program has to run then. The full address is accepted with every mechanism, the bare name with challenge-response only.
-- Both log in as the full address.
create function mail.passdb(login text, mechanism text, service text)
  returns table (
    "user" text,
    password text,
    userdb_home text,
    userdb_quota_rule text,        -- Dovecot 2.3
    userdb_quota_storage_size text -- Dovecot 2.4
  )
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  kind text := case upper(mechanism collate "C")
    when 'PLAIN' then 'ARGON2ID'
    when 'LOGIN' then 'ARGON2ID'
    when 'SCRAM-SHA-256' then 'SCRAM-SHA-256'
    when 'CRAM-MD5' then 'CRAM-MD5'
  end;
  at_sign integer := coalesce(position('@' in login), 0);
  wanted text := lower(case when at_sign > 0 then left(login, at_sign - 1) else coalesce(login, '') end collate "C");
  wanted_domain text := case when at_sign > 0 then lower(substr(login, at_sign + 1) collate "C") end;
  hit record;
begin
  if kind is null then
    return;
  end if;
  select
    m.name || '@' || m.domain as address,
    mail.home(m.id) as home,
    coalesce(m.quota_bytes, d.default_quota_bytes, s.default_quota_bytes) as quota_bytes,
    v.verifier,
    s.scram_iterations,
    v.verifier is not null
      and m.state = 'active' and d.state = 'active' and a.state = 'active'
      and not m.locked and not d.locked and not a.disabled
      and (a.login_from is null or a.login_from <= now()) and (a.login_until is null or now() < a.login_until)
      and case when kind = 'ARGON2ID'
        then not s.require_secure_password and wanted_domain = m.domain
        else (wanted_domain is null or wanted_domain = m.domain)
          and kind = any (coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms))
      end as usable
  into hit
  from app.settings as s
    left join app.mailboxes as m on m.name = wanted
    left join app.accounts as a on a.name = m.name
    left join app.domains as d on d.name = m.domain
    left join app.verifiers as v on v.name = wanted and v.mechanism = kind;
  if hit.usable then
    "user" := hit.address;
    password := '{' || kind || '}' || hit.verifier;
    userdb_home := hit.home;
    userdb_quota_rule := '*:bytes=' || hit.quota_bytes;
    userdb_quota_storage_size := case hit.quota_bytes when 0 then 'unlimited' else hit.quota_bytes || 'B' end;
  else
    password := '{' || kind || '}' || mail.decoy(wanted, kind, hit.verifier, hit.scram_iterations);
  end if;
  return next;
end;
$$;

-- Dovecot's user query, for delivery and administration. A lock does not count here: mail is still delivered.
-- A deleted mailbox is seen by the administration interface alone, which removes its mail.
create function mail.userdb(address text, service text)
  returns table ("user" text, home text, quota_rule text, quota_storage_size text)
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  at_sign integer := coalesce(position('@' in address), 0);
  wanted text := mail.name_of(left(address, at_sign - 1));
  wanted_domain text := lower(substr(address, at_sign + 1) collate "C");
begin
  if at_sign = 0 then
    return;
  end if;
  return query
    select
      m.name || '@' || m.domain,
      mail.home(m.id),
      '*:bytes=' || q.bytes,
      case q.bytes when 0 then 'unlimited' else q.bytes || 'B' end
    from app.settings as s
      join app.mailboxes as m on m.name = wanted and m.domain = wanted_domain
      join app.domains as d on d.name = m.domain
      cross join lateral (
        select coalesce(m.quota_bytes, d.default_quota_bytes, s.default_quota_bytes) as bytes
      ) as q
    where service = 'doveadm' or (m.state = 'active' and d.state = 'active');
end;
$$;

-- Postfix's virtual_mailbox_domains: the domain, where mail is accepted for it.
create function mail.domain(domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := lower(domain collate "C");
begin
  return query select d.name from app.domains as d where d.name = wanted and d.state = 'active';
end;
$$;

-- Postfix's virtual_mailbox_maps: the address, where a mailbox has it.
create function mail.mailbox(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  wanted_domain text := lower(domain collate "C");
begin
  return query
    select m.name || '@' || m.domain
    from app.mailboxes as m join app.domains as d on d.name = m.domain
    where m.name = wanted and m.domain = wanted_domain and m.state = 'active' and d.state = 'active';
end;
$$;

-- Where the mail of an address is sent on to by what is set here, one step. RFC 5321 §4.5.1 wants postmaster of every
-- domain, RFC 2142 §2 abuse: where the domain has no such address, its postmaster_address gets them, else the server's.
create function mail.sent_on(wanted text, wanted_domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
begin
  return query
    select unnest(m.forward_to)
    from app.mailboxes as m join app.domains as d on d.name = m.domain
    where m.name = wanted and m.domain = wanted_domain
      and m.state = 'active' and d.state = 'active' and m.delivery = 'accept';
  if wanted in ('postmaster', 'abuse') then
    return query
      select coalesce(d.postmaster_address, s.postmaster_address)
      from app.domains as d cross join app.settings as s
      where d.name = wanted_domain and d.state = 'active'
        -- an address that stands for itself would be accepted and then bounce
        and coalesce(d.postmaster_address, s.postmaster_address) <> wanted || '@' || wanted_domain
        and not exists (
          select from app.addresses as x
            left join app.mailboxes as m on m.name = x.name and m.domain = x.domain and m.state = 'deleted'
          where x.name = wanted and x.domain = wanted_domain and m.name is null
        );
  end if;
end;
$$;

-- Whether mail that is sent on to an address stays there: with another server, or in a mailbox that takes it. What has
-- vanished since, or refuses mail, gets none.
create function mail.stays(wanted text, wanted_domain text) returns boolean
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
begin
  return exists (
      select from app.mailboxes as m join app.domains as d on d.name = m.domain
      where m.name = wanted and m.domain = wanted_domain
        and m.state = 'active' and d.state = 'active' and m.delivery = 'accept'
        and (m.keep_copy or m.forward_to = '{}')
    )
    or not exists (select from app.domains as d where d.name = wanted_domain);
end;
$$;

-- Postfix's virtual_alias_maps: where the mail of an address goes instead. All steps are taken here, each address once,
-- so that Postfix finds no loop however addresses are sent on to each other: what is returned is either sent on no
-- further or keeps a copy, and then stands for itself too, where Postfix stops (virtual(5)). At most 100 addresses are
-- looked at. The mailbox's own copy is without the detail, or it would count as two. No row, and so the mailbox itself, where the mail would stay nowhere else.
create function mail.alias(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  wanted_domain text := lower(domain collate "C");
  itself text := wanted || '@' || wanted_domain;
begin
  if not exists (select from mail.sent_on(wanted, wanted_domain)) then
    return;
  end if;
  return query
    with recursive walk (address) as (
      select itself
      union
      select t.address
      from walk as w
        cross join lateral mail.sent_on(mail.name_of(split_part(w.address, '@', 1)), split_part(w.address, '@', 2))
          as t (address)
    )
    select w.address
    from (select walk.address from walk limit 100) as w
    where mail.stays(mail.name_of(split_part(w.address, '@', 1)), split_part(w.address, '@', 2))
    order by w.address <> itself, w.address;
end;
$$;

-- Postfix's check_recipient_access: what is said to mail for a mailbox that refuses it, with and without a login. A
-- mailbox that sends all on is taken however full it is itself.
create function mail.recipient_access(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  wanted_domain text := lower(domain collate "C");
begin
  return query
    -- RFC 3463 §3.3: X.2.1 mailbox disabled, not accepting messages
    select case m.delivery when 'refuse' then '550 5.2.1 This mailbox takes no mail' else 'OK' end
    from app.mailboxes as m join app.domains as d on d.name = m.domain
    where m.name = wanted and m.domain = wanted_domain and m.state = 'active' and d.state = 'active'
      and (m.delivery = 'refuse' or (m.forward_to <> '{}' and not m.keep_copy));
end;
$$;

-- Postfix's smtpd_sender_login_maps: who may send as this envelope address. That is its own login alone; whoever gets
-- postmaster's mail by the rule above does not send as postmaster. Who may no longer log in has none either: Postfix
-- cannot end a session, but one that was open before a lock can send nothing more.
create function mail.sender_login(local_part text, domain text) returns setof text
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
      and not m.locked and not d.locked and not a.disabled
      and (a.login_from is null or a.login_from <= now()) and (a.login_until is null or now() < a.login_until);
end;
$$;

create index domains_cram_md5_idx on app.domains (name)
  where state = 'active' and 'CRAM-MD5' = any (secure_password_mechanisms);

-- Whether Dovecot has to offer CRAM-MD5, because the server or some domain lists it.
create function mail.offers_cram_md5() returns boolean
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
begin
  return exists (select from app.settings as s where 'CRAM-MD5' = any (s.secure_password_mechanisms))
    or exists (
      select from app.domains as d where d.state = 'active' and 'CRAM-MD5' = any (d.secure_password_mechanisms)
    );
end;
$$;

-- What Dovecot says a mailbox holds. Its SQL dictionary writes INSERT … ON CONFLICT (username) DO UPDATE, which wants
-- a plain table with exactly this key. A mailbox that was never used has no row.
create table mail.usage (
  username text collate "C" not null,        -- the address
  bytes bigint not null default 0,
  messages bigint not null default 0,
  constraint usage_pkey primary key (username)
);

-- When somebody last logged in, written in the same way.
create table mail.last_login (
  username text collate "C" not null,        -- the address
  at_epoch bigint not null,                  -- seconds since 1970, UTC
  constraint last_login_pkey primary key (username)
);

grant select, insert, update, delete on mail.usage, mail.last_login to mail_write;
grant select, delete on mail.usage, mail.last_login to mailwright_service;

revoke all on all functions in schema mail from public;
grant execute on function
  mail.passdb(text, text, text), mail.userdb(text, text), mail.domain(text), mail.mailbox(text, text),
  mail.alias(text, text), mail.recipient_access(text, text), mail.sender_login(text, text), mail.offers_cram_md5()
  to mail_read;
grant execute on function
  mail.home(uuid), mail.name_of(text), mail.sent_on(text, text), mail.stays(text, text)
  to mailwright_definer;
alter function mail.decoy(text, text, text, integer) owner to mailwright_definer;
alter function mail.passdb(text, text, text) owner to mailwright_definer;
alter function mail.userdb(text, text) owner to mailwright_definer;
alter function mail.domain(text) owner to mailwright_definer;
alter function mail.mailbox(text, text) owner to mailwright_definer;
alter function mail.sent_on(text, text) owner to mailwright_definer;
alter function mail.stays(text, text) owner to mailwright_definer;
alter function mail.alias(text, text) owner to mailwright_definer;
alter function mail.recipient_access(text, text) owner to mailwright_definer;
alter function mail.sender_login(text, text) owner to mailwright_definer;
alter function mail.offers_cram_md5() owner to mailwright_definer;
revoke create on schema mail from mailwright_definer;
