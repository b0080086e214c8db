-- The tables of the service. What must stay true whatever races is a named constraint here; the
-- program turns a violation into its problem by that name.
--
-- Keys are text in the collation "C": one order for every client, and prefix scans by index.
-- `version` is random, so that an object made anew never repeats an ETag.
-- Roles (made by src/roles.ts before any migration): mailwright_service holds what the running service
-- may do; mailwright_definer owns the functions that touch verifiers, and cannot log in.

create schema if not exists app; -- the history of migrations made it already
revoke all on schema app from public;
revoke create on schema public from public;

-- The grammar of a name: RFC 5321 dot-string, narrowed to what every login form and program accepts.
create function app.is_name(value text) returns boolean
  language sql immutable parallel safe
  return length(value) between 1 and 64 and value ~ '^[a-z0-9_-]+(\.[a-z0-9_-]+)*$';

-- The grammar of a domain name: A-labels in lower case (RFC 5890), two or more, the last one alphabetic
-- or an internationalised label, so that an IP address is never one.
create function app.is_domain_name(value text) returns boolean
  language sql immutable parallel safe
  return length(value) <= 253
    and value ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+([a-z]{1,63}|xn--[a-z0-9-]{0,58}[a-z0-9])$';

-- What the challenge-response side may offer, none of them twice; 'ARGON2ID' is the verifier of the clear-text side.
-- Without a subquery, which Postgres would run as a statement of its own for each row.
create function app.are_mechanisms(value text[]) returns boolean
  language sql immutable parallel safe
  return value <@ array['SCRAM-SHA-256', 'CRAM-MD5'] and array_position(value, null) is null
    and (cardinality(value) < 2 or cardinality(value) = 2 and value @> array['SCRAM-SHA-256', 'CRAM-MD5']);

-- Password schemes of Dovecot's whose hashes are taken from elsewhere in the place of the Argon2id verifier.
create function app.is_foreign_scheme(value text) returns boolean
  language sql immutable parallel safe
  return value in ('ARGON2I', 'BLF-CRYPT', 'SHA512-CRYPT', 'SHA256-CRYPT', 'PBKDF2', 'SCRAM-SHA-256');

create function app.are_domain_names(value text[]) returns boolean
  language sql immutable parallel safe
  return cardinality(value) <= 1000 and array_position(value, null) is null
    and not exists (select from unnest(value) as t (name) where not app.is_domain_name(name));

-- What may stand in one column is the rule of its type where rows are written all the time: Postgres keeps such a rule
-- for the session, but reads and plans the CHECKs of a table anew for each statement that writes to it (ExecRelCheck),
-- which took a third of a create. Not of names: what Citus tells shards by has one type in all tables.
create domain app.account_state as text constraint account_state_check check (value in ('active', 'deleted', 'held'));
create domain app.authentication as text
  constraint authentication_check check (value in ('local', 'password_file', 'active_directory'));
create domain app.mechanisms as text[] constraint mechanisms_check check (app.are_mechanisms(value));
create domain app.foreign_scheme as text constraint foreign_scheme_check check (app.is_foreign_scheme(value));
create domain app.free_text as text constraint free_text_check check (length(value) <= 200);
create domain app.address_kind as text constraint address_kind_check check (value in ('mailbox', 'alias'));
create domain app.mailbox_kind as text constraint mailbox_kind_check check (value = 'mailbox');
create domain app.mailbox_state as text constraint mailbox_state_check check (value in ('active', 'deleted'));
create domain app.quota_bytes as bigint constraint quota_bytes_check check (value between 0 and 9007199254740991);
create domain app.forward_to as text[]
  constraint forward_to_check check (cardinality(value) <= 10 and array_position(value, null) is null);
create domain app.delivery as text constraint delivery_check check (value in ('accept', 'refuse'));
create domain app.never as boolean constraint never_check check (not value);

-- One row: the settings of the installation. null = nobody has set it, where a default is named.
create table app.settings (
  singleton boolean not null default true,
  installation uuid,                         -- the id that own tokens carry as iss and aud
  mail_server text,                          -- host name that clients are told; first value at first start
  pop3s_port integer,                        -- null: 995
  imaps_port integer,                        -- null: 993
  submission_port integer,                   -- null: 587
  postmaster_address text,                   -- gets postmaster@ and abuse@ of domains that have neither
  authentication text not null default 'local',
  create_account_default boolean not null default true,
  secure_password_mechanisms text[] not null default '{SCRAM-SHA-256}',
  require_secure_password boolean not null default false,
  scram_iterations integer not null default 100000,
  local_name_max_length integer not null default 20,
  password_min_length integer not null default 12,
  default_quota_bytes bigint not null default 0,           -- 0: unlimited
  deleted_retention_days integer not null default 30,
  forward_allowed_domains text[],            -- where mail may be sent on to outside; null: anywhere
  tokens_not_before timestamptz,             -- tokens issued earlier are refused, whoever issued them
  version uuid not null default gen_random_uuid(),
  updated_at timestamptz not null default now(),
  constraint settings_pkey primary key (singleton),
  constraint settings_singleton_check check (singleton),
  constraint settings_mail_server_check check (length(mail_server) between 1 and 253),
  constraint settings_pop3s_port_check check (pop3s_port between 1 and 65535),
  constraint settings_imaps_port_check check (imaps_port between 1 and 65535),
  constraint settings_submission_port_check check (submission_port between 1 and 65535),
  constraint settings_postmaster_address_check check (length(postmaster_address) between 3 and 254),
  constraint settings_authentication_check check (authentication in ('local', 'password_file', 'active_directory')),
  constraint settings_secure_password_mechanisms_check check (app.are_mechanisms(secure_password_mechanisms)),
  constraint settings_scram_iterations_check check (scram_iterations between 4096 and 1000000),
  constraint settings_local_name_max_length_check check (local_name_max_length between 1 and 64),
  constraint settings_password_min_length_check check (password_min_length between 8 and 128),
  constraint settings_default_quota_bytes_check check (default_quota_bytes between 0 and 9007199254740991),
  constraint settings_deleted_retention_days_check check (deleted_retention_days between 0 and 3650),
  constraint settings_forward_allowed_domains_check check (app.are_domain_names(forward_allowed_domains))
);
insert into app.settings default values;

-- A domain that this installation accepts mail for. `deleted` = deleted together with its mailboxes; it
-- keeps its name until the last of them is purged.
create table app.domains (
  name text collate "C" not null,
  state text not null default 'active',
  locked boolean not null default false,
  authentication text,                       -- of new accounts; null: the server's
  secure_password_mechanisms text[],         -- null: the server's
  mail_server text,                          -- null: the server's
  postmaster_address text,
  mailbox_limit integer,                     -- active mailboxes; null: no limit
  default_quota_bytes bigint,                -- null: the server's, 0: unlimited
  accepts_mail boolean not null default true, -- false: Postfix does not take its mail yet; logins work
  alias_of text collate "C",                 -- every address here is the one of that domain; null: it has its own
  is_alias boolean not null generated always as (alias_of is not null) stored,
  target_is_alias boolean generated always as (case when alias_of is not null then false end) stored,
  purge_at timestamptz,
  version uuid not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint domains_pkey primary key (name),
  constraint domains_name_check check (app.is_domain_name(name)),
  constraint domains_state_check check (state in ('active', 'deleted')),
  constraint domains_purge_at_check check ((state = 'deleted') = (purge_at is not null)),
  constraint domains_authentication_check check (authentication in ('local', 'password_file', 'active_directory')),
  constraint domains_secure_password_mechanisms_check check (app.are_mechanisms(secure_password_mechanisms)),
  constraint domains_mail_server_check check (length(mail_server) between 1 and 253),
  constraint domains_postmaster_address_check check (length(postmaster_address) between 3 and 254),
  constraint domains_mailbox_limit_check check (mailbox_limit >= 0),
  constraint domains_default_quota_bytes_check check (default_quota_bytes between 0 and 9007199254740991),
  constraint domains_alias_key unique (name, is_alias),
  -- no chains, and none of itself: what an alias stands for is no alias
  constraint domains_alias_of_fkey foreign key (alias_of, target_is_alias) references app.domains (name, is_alias)
);
create index domains_alias_of_idx on app.domains (alias_of) where alias_of is not null;
create index domains_postmaster_address_idx on app.domains (postmaster_address) where postmaster_address is not null;

-- Who logs in. It may exist without a mailbox, never the other way round. `deleted` = went with its deleted
-- mailbox and comes back with it; `held` = a name left by a rename, that nobody may take while its alias lives.
create table app.accounts (
  name text collate "C" not null,
  state app.account_state not null default 'active',
  authentication app.authentication not null,
  mechanisms app.mechanisms not null default '{}', -- challenge-response mechanisms it has a verifier for
  foreign_scheme app.foreign_scheme,         -- of a hash that was made elsewhere; null: the clear-text side is Argon2id
  disabled boolean not null default false,
  login_from timestamptz,                    -- logins work from then on; null: since ever
  login_until timestamptz,                   -- and before then; null: for ever
  display_name app.free_text,
  external_id app.free_text,                 -- the caller's own key; two companies may both have a 1001
  password_set_at timestamptz,
  version uuid not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint accounts_pkey primary key (name),
  constraint accounts_name_check check (app.is_name(name)),
  constraint accounts_foreign_scheme_check check (foreign_scheme is null or password_set_at is not null),
  constraint accounts_password_file_check check (authentication <> 'password_file' or mechanisms = '{}'),
  constraint accounts_login_period_check check (login_from < login_until)
);
create index accounts_foreign_scheme_idx on app.accounts (foreign_scheme, name) where foreign_scheme is not null;
create index accounts_external_id_idx on app.accounts (external_id, name) where external_id is not null;

-- Every address that exists in any state; the name of a domain's catch-all is empty. A name belongs to one mailbox in the whole installation because
-- only one row of a name can hold it; an ordinary alias does not hold its local part.
create table app.addresses (
  name text collate "C" not null,
  domain text collate "C" not null,
  kind app.address_kind not null,
  holds_name boolean not null,
  -- an alias domain has no addresses of its own, and what has some cannot become one
  domain_is_alias app.never not null default false,
  constraint addresses_pkey primary key (name, domain),
  constraint addresses_kind_key unique (name, domain, kind),
  -- a mailbox always does, a catch-all never
  constraint addresses_holds_name_check check (case when holds_name then name <> '' else kind <> 'mailbox' end),
  -- RFC 5321 §4.5.3.1.3: a path has 256 octets with its angle brackets
  constraint addresses_length_check check (length(name) + 1 + length(domain) <= 254),
  constraint addresses_domain_fkey foreign key (domain, domain_is_alias) references app.domains (name, is_alias)
);
create unique index addresses_name_key on app.addresses (name) where holds_name;
-- with the name, so that the look-up of one address never reads all of a domain, however old the statistics are
create index addresses_domain_idx on app.addresses (domain, name);

-- Where the mail of an address is put. `id` never changes: the mail lies in a folder of that name, so
-- that a mailbox made anew under an old name never shows the old mail.
create table app.mailboxes (
  name text collate "C" not null,
  id uuid not null default gen_random_uuid(),
  domain text collate "C" not null,
  kind app.mailbox_kind not null default 'mailbox',
  state app.mailbox_state not null default 'active',
  deleted_with_domain boolean not null default false,
  locked boolean not null default false,
  quota_bytes app.quota_bytes,               -- null: the domain's, 0: unlimited
  forward_to app.forward_to not null default '{}', -- addresses that its mail is sent on to
  forwarded text[] not null default '{}',    -- those of them that may be outside; the others stand for an address here
  keep_copy boolean not null default true,   -- whether mail that is sent on is put into the mailbox too
  delivery app.delivery not null default 'accept', -- 'refuse': mail for it is refused
  hold boolean not null default false,       -- nothing purges it
  purge_at timestamptz,
  version uuid not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint mailboxes_pkey primary key (name),
  constraint mailboxes_id_key unique (id),
  constraint mailboxes_state_check
    check (case when state = 'deleted' then purge_at is not null else purge_at is null and not deleted_with_domain end),
  constraint mailboxes_forwarded_check check (forwarded <@ forward_to),
  constraint mailboxes_address_fkey foreign key (name, domain, kind) references app.addresses (name, domain, kind),
  -- deferred: the parts of one statement may run in any order
  constraint mailboxes_account_fkey foreign key (name) references app.accounts (name) deferrable initially deferred
);
create index mailboxes_domain_idx on app.mailboxes (domain, name) where state = 'active';
create index mailboxes_deleted_idx on app.mailboxes (domain, name) where state = 'deleted';
create index mailboxes_forward_to_idx on app.mailboxes using gin (forward_to) where forward_to <> '{}';
create index mailboxes_locked_idx on app.mailboxes (name) where locked;
create index mailboxes_updated_at_idx on app.mailboxes (updated_at);
create index mailboxes_hold_idx on app.mailboxes (domain, name) where hold;
create index mailboxes_purge_at_idx on app.mailboxes (purge_at) where state = 'deleted' and not hold;

-- What a password is checked against, one row a mechanism. The service writes it blindly and cannot read it.
create table app.verifiers (
  name text collate "C" not null,
  mechanism text not null,
  verifier text not null,
  scheme app.foreign_scheme,                 -- of a hash that was made elsewhere; null: as the mechanism says
  constraint verifiers_pkey primary key (name, mechanism),
  constraint verifiers_mechanism_check check (mechanism in ('ARGON2ID', 'SCRAM-SHA-256', 'CRAM-MD5')),
  constraint verifiers_scheme_check check (scheme is null or mechanism = 'ARGON2ID'),
  constraint verifiers_verifier_check check (length(verifier) between 1 and 512),
  constraint verifiers_account_fkey foreign key (name) references app.accounts (name) on delete cascade
);

-- Puts the verifiers of a new password in the place of all the old ones.
create function app.set_verifiers(account_name text, mechanisms text[], verifiers text[]) returns void
  language sql security definer set search_path = ''
begin atomic
  delete from app.verifiers where name = account_name;
  insert into app.verifiers (name, mechanism, verifier)
    select account_name, v.mechanism, v.verifier from unnest(mechanisms, verifiers) as v (mechanism, verifier);
end;

-- Drops the verifiers that the settings no longer list: of one domain's accounts, or, with null, of all.
create function app.drop_unlisted_verifiers(of_domain text) returns void
  language sql security definer set search_path = ''
begin atomic
  delete from app.verifiers as v
    using app.accounts as a
      left join app.mailboxes as m on m.name = a.name
      left join app.domains as d on d.name = m.domain
      cross join app.settings as s
    where v.name = a.name and v.mechanism <> 'ARGON2ID' and (of_domain is null or m.domain = of_domain)
      and v.mechanism <> all (coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms));
  update app.accounts as a
    set mechanisms = array(select k from unnest(a.mechanisms) as k where k = any (l.listed))
    from (
      select b.name, coalesce(d.secure_password_mechanisms, s.secure_password_mechanisms) as listed
      from app.accounts as b
        left join app.mailboxes as m on m.name = b.name
        left join app.domains as d on d.name = m.domain
        cross join app.settings as s
      where of_domain is null or m.domain = of_domain
    ) as l
    where a.name = l.name and not a.mechanisms <@ l.listed;
end;

revoke all on all functions in schema app from public;
grant execute on all functions in schema app to mailwright_service;

grant usage on schema app to mailwright_service, mailwright_definer;
grant select, insert, update, delete on app.domains, app.accounts, app.addresses, app.mailboxes to mailwright_service;
grant select, update on app.settings to mailwright_service;
grant insert on app.verifiers to mailwright_service;

grant select, insert, delete on app.verifiers to mailwright_definer;
grant select on app.accounts, app.mailboxes, app.domains, app.settings to mailwright_definer;
grant update (mechanisms) on app.accounts to mailwright_definer;
grant execute on function app.are_mechanisms(text[]), app.is_name(text), app.is_foreign_scheme(text) to mailwright_definer;
-- a new owner of a function needs CREATE on its schema, at that moment only
grant create on schema app to mailwright_definer;
alter function app.set_verifiers(text, text[], text[]) owner to mailwright_definer;
alter function app.drop_unlisted_verifiers(text) owner to mailwright_definer;
revoke create on schema app from mailwright_definer;
