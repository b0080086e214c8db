import type pg from 'pg'

/** How many; one in ten lies in `big`, the others in as many domains as there are hundreds. */
export interface Many {
  mailboxes: number
  /** The domain that has a tenth of all. */
  big: string
}

/** The name of the i-th, from 1 on: in no order, as people are not hired by the alphabet. */
export function nameOf(i: number): string {
  return `u${((BigInt(i) * scatter) % 2n ** 32n).toString(16).padStart(8, '0')}`
}
const scatter = 2_654_435_761n // odd, so that no two names are the same (Knuth, TAOCP 6.4)

const name = `'u' || lpad(to_hex((i::bigint * ${scatter}) % 4294967296), 8, '0')`

/** The domain of the i-th. */
export function domainOf({ mailboxes, big }: Many, i: number): string {
  return i % 10 === 0 ? big : `d${Math.floor(i / 10) % (mailboxes / 100)}.example`
}

/**
 * Fills the tables behind the API, since a hundred thousand passwords would take an hour. Triggers sleep meanwhile, those
 * of the foreign keys too: what is written here keeps them.
 */
export async function fillMany(admin: pg.Pool, { mailboxes, big }: Many): Promise<void> {
  const client = await admin.connect()
  const domain = `case when i % 10 = 0 then '${big}' else 'd' || i / 10 % ${mailboxes / 100} || '.example' end`
  const every = `from generate_series(1, ${mailboxes}) as i`
  const address = `${name} || '@' || ${domain}`
  const event = `'mailbox.create', 'mailbox', ${name}, ${address}, ${domain}, 'hr', 'test', gen_random_uuid()`
  const statements = [
    `set session_replication_role = replica`,
    `insert into app.domains (name) select 'd' || i || '.example' from generate_series(0, ${mailboxes / 100} - 1) as i`,
    `insert into app.domains (name) values ('${big}')`,
    `insert into app.accounts (name, authentication, external_id, display_name, password_set_at, mechanisms)
     select ${name}, 'local', i::text, 'Person ' || i, now(), '{SCRAM-SHA-256}' ${every}`,
    `insert into app.addresses (name, domain, kind, holds_name) select ${name}, ${domain}, 'mailbox', true ${every}`,
    `insert into app.mailboxes (name, domain, locked) select ${name}, ${domain}, i % 1000 = 1 ${every}`,
    `insert into app.verifiers (name, mechanism, verifier)
     select ${name}, k, 'none' ${every} cross join unnest(array['ARGON2ID', 'SCRAM-SHA-256']) as k`,
    `insert into mail.usage (username, bytes, messages) select ${address}, 1000, 10 ${every}`,
    `insert into mail.last_login (username, at_epoch) select ${address}, 1700000000 + i ${every}`,
    `insert into app.addresses (name, domain, kind, holds_name) select 'a' || i, ${domain}, 'alias', false ${every} where i % 10 < 2`,
    `insert into app.aliases (name, domain, targets) select 'a' || i, ${domain}, array[${address}] ${every} where i % 10 < 2`,
    `insert into app.audit_events (at, action, kind, name, object, domain, subject, issuer, request_id)
     select now() - i * interval '1 second', ${event} ${every}`,
    `analyze app.domains, app.accounts, app.addresses, app.mailboxes, app.verifiers, app.aliases, app.audit_events,
      mail.usage, mail.last_login`,
    `reset session_replication_role`,
  ]
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    client.release()
  }
}
