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
-- Of a hash that was made elsewhere it keeps the scheme's form too: all up to the last part, and of bcrypt the 29
-- characters of its parameters and salt.
create function mail.decoy(name text, kind text, actual text, scram_iterations integer) returns text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  salt bytea;
  first_key bytea;
  second_key bytea;
  kept text;
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
  if kind in ('BLF-CRYPT', 'SHA512-CRYPT', 'SHA256-CRYPT', 'PBKDF2') then
    kept := case kind when 'BLF-CRYPT' then left(actual, 29) else substring(actual from '^.*[$]') end;
    return kept || left(
      case kind
        when 'PBKDF2' then encode(first_key || second_key, 'hex')
        else translate(encode(first_key || second_key, 'base64'), '+=' || chr(10), '.')
      end,
      length(actual) - length(kept));
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
-- that is not ours. The full address is accepted with every mechanism, the bare name with challenge-response only.
-- Both log in as the full address. Who may log in from or until a moment is judged by the clock here, so that no
-- program has to run then.
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
    coalesce(v.scheme, kind) as scheme,
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
    password := '{' || hit.scheme || '}' || hit.verifier;
    userdb_home := hit.home;
    userdb_quota_rule := '*:bytes=' || hit.quota_bytes;
    userdb_quota_storage_size := case hit.quota_bytes when 0 then 'unlimited' else hit.quota_bytes || 'B' end;
  else
    password := '{' || hit.scheme || '}' || mail.decoy(wanted, hit.scheme, hit.verifier, hit.scram_iterations);
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
      join app.domains as o on o.name = wanted_domain -- an alias domain's addresses are those of the other
      join app.mailboxes as m on m.name = wanted and m.domain = coalesce(o.alias_of, o.name)
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
  return query select d.name from app.domains as d where d.name = wanted and d.state = 'active' and d.accepts_mail;
end;
$$;

-- Postfix's virtual_mailbox_maps: the address, where a mailbox has it. One in an alias domain is for mail.alias.
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
    where m.name = wanted and m.domain = wanted_domain and m.state = 'active' and d.state = 'active' and d.accepts_mail;
end;
$$;

-- Postfix's virtual_alias_maps: where the mail of an address goes instead. All the way at once, so that Postfix never
-- finds a loop and never accepts what nobody is left to get. The order of the rules: an alias domain, the mailbox (and
-- where it sends its mail on to) or the alias; for postmaster and abuse, which RFC 5321 §4.5.1 and RFC 2142 §2 want of
-- every domain, the postmaster_address of the domain, else the server's; the catch-all, for what never was an address
-- here. A domain that does not accept mail yet is none of ours: what is sent to it goes outside as it is.
-- A mailbox that keeps a copy is among what it is sent on to, and comes first: Postfix stops there (virtual(5)). Where
-- nobody else is left to get its mail there is no row, and the mailbox gets it.
create function mail.alias(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted_domain text := lower(domain collate "C");
  is_sent_on boolean;
begin
  select m.name is null or m.forward_to <> '{}' into is_sent_on
  from app.domains as d
    left join app.mailboxes as m
      on m.name = mail.name_of(local_part) and m.domain = d.name and m.state = 'active'
  where d.name = wanted_domain and d.state = 'active' and d.accepts_mail;
  if is_sent_on and local_part <> '' then
    return query
      select r.address from mail.recipients(local_part, wanted_domain, false) as r (address)
      order by r.address <> mail.name_of(local_part) || '@' || wanted_domain, r.address;
  end if;
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
    from app.domains as o -- an alias domain's addresses are those of the other
      join app.domains as d on d.name = coalesce(o.alias_of, o.name)
      join app.mailboxes as m on m.name = wanted and m.domain = d.name
    where o.name = wanted_domain and o.state = 'active' and o.accepts_mail
      and d.state = 'active' and d.accepts_mail and m.state = 'active'
      and (m.delivery = 'refuse' or (m.forward_to <> '{}' and not m.keep_copy));
end;
$$;

-- Postfix's smtpd_sender_login_maps: who may send as this envelope address. That is its own login, and of an alias with
-- send_as the logins of its targets here; a catch-all and the rule for postmaster give nobody that right. Who may no
-- longer log in has none either: Postfix cannot end a session, but one that was open before a lock can send nothing more.
-- `offset 0`: one probe by a key after the other, where the planner expects more senders than there ever are.
create function mail.sender_login(local_part text, domain text) returns setof text
  language plpgsql stable security definer set search_path = ''
as $$
#variable_conflict use_variable
declare
  wanted text := mail.name_of(local_part);
  wanted_domain text := lower(domain collate "C");
begin
  return query
    with recursive sender (name, domain) as (
      select wanted collate "C", coalesce(d.alias_of, d.name)
      from app.domains as d
      where d.name = wanted_domain and d.state = 'active' and not d.locked and wanted <> ''
      union
      select mail.name_of(split_part(t.address, '@', 1)) collate "C", coalesce(d.alias_of, d.name)
      from sender as s
        cross join lateral (
          select a.domain, a.targets, a.forwarded from app.aliases as a
          where a.name = s.name and a.domain = s.domain and a.name <> '' and a.send_as offset 0
        ) as a
        cross join lateral (
          select from app.domains as o where o.name = a.domain and o.state = 'active' and not o.locked offset 0
        ) as o
        cross join lateral unnest(a.targets) as t (address)
        cross join lateral (
          select d.name, d.alias_of from app.domains as d
          where d.name = split_part(t.address, '@', 2) and d.state = 'active' offset 0
        ) as d
      where t.address <> all (a.forwarded)
    )
    select m.name || '@' || m.domain
    from sender as s
      cross join lateral (
        select m.name, m.domain from app.mailboxes as m
        where m.name = s.name and m.domain = s.domain and m.state = 'active' and not m.locked offset 0
      ) as m
      cross join lateral (
        select from app.domains as d where d.name = m.domain and d.state = 'active' and not d.locked offset 0
      ) as d
      cross join lateral (
        select from app.accounts as a
        where a.name = m.name and a.state = 'active' and not a.disabled
          and (a.login_from is null or a.login_from <= now()) and (a.login_until is null or now() < a.login_until)
        offset 0
      ) as a;
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
grant execute on function mail.home(uuid), mail.name_of(text) to mailwright_definer;
alter function mail.decoy(text, text, text, integer) owner to mailwright_definer;
alter function mail.passdb(text, text, text) owner to mailwright_definer;
alter function mail.userdb(text, text) owner to mailwright_definer;
alter function mail.domain(text) owner to mailwright_definer;
alter function mail.mailbox(text, text) owner to mailwright_definer;
alter function mail.alias(text, text) owner to mailwright_definer;
alter function mail.recipient_access(text, text) owner to mailwright_definer;
alter function mail.sender_login(text, text) owner to mailwright_definer;
alter function mail.offers_cram_md5() owner to mailwright_definer;
revoke create on schema mail from mailwright_definer;
