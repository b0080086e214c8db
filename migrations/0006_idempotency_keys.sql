-- The answer that a request with an Idempotency-Key got the first time, written in the transaction of what it did: a
-- row exists exactly if the effect does. It is replayed for 24 hours to whoever the token names, then swept.
create table app.idempotency_keys (
  issuer text collate "C" not null,          -- who the token names: a subject is unique only within its issuer
  subject text collate "C" not null,
  key text collate "C" not null,
  fingerprint bytea not null,                -- HMAC-SHA-256 of the request under a key that is not in the database
  status smallint not null,
  etag text,
  location text,
  body json not null,                        -- as it was answered, in that order, without a generated secret
  created_at timestamptz not null default now(),
  constraint idempotency_keys_pkey primary key (issuer, subject, key),
  constraint idempotency_keys_key_check check (length(key) between 1 and 255),
  constraint idempotency_keys_fingerprint_check check (length(fingerprint) = 32),
  constraint idempotency_keys_status_check check (status between 200 and 299)
);
create index idempotency_keys_created_at_idx on app.idempotency_keys (created_at);

grant select, insert, update, delete on app.idempotency_keys to mailwright_service;
