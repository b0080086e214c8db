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

const every = ({ mailboxes }: Many) => `from generate_series(1, ${mailboxes}) as i`
const domain = ({ mailboxes, big }: Many) =>
  `case when i % 10 = 0 then '${big}' else 'd' || i / 10 % ${mailboxes / 100} || '.example' end`

/** Behind the API, since a hundred thousand passwords would take an hour. */
export function fillMailboxes(admin: pg.Pool, many: Many): Promise<void> {
  return fill(admin, [
    `insert into app.domains (name) select 'd' || i || '.example' from generate_series(0, ${many.mailboxes / 100} - 1) as i`,
    `insert into app.domains (name) values ('${many.big}')`,
    `insert into app.accounts (name, authentication, external_id, display_name, password_set_at, mechanisms)
     select ${name}, 'local', i::text, 'Person ' || i, now(), '{SCRAM-SHA-256}' ${every(many)}`,
    `insert into app.addresses (name, domain, kind, holds_name) select ${name}, ${domain(many)}, 'mailbox', true ${every(many)}`,
    `insert into app.mailboxes (name, domain, locked) select ${name}, ${domain(many)}, i % 1000 = 1 ${every(many)}`,
    'analyze app.domains, app.accounts, app.addresses, app.mailboxes',
  ])
}

/** What they bring along: verifiers, usage, logins, events, and an alias for every fifth. */
export function fillBeside(admin: pg.Pool, many: Many): Promise<void> {
  const address = `${name} || '@' || ${domain(many)}`
  const event = `'mailbox.create', 'mailbox', ${name}, ${address}, ${domain(many)}, 'hr', 'test', gen_random_uuid()`
  return fill(admin, [
    `insert into app.verifiers (name, mechanism, verifier) select ${name}, 'ARGON2ID', 'none' ${every(many)}`,
    `insert into mail.usage (username, bytes, messages) select ${address}, 1000, 10 ${every(many)}`,
    `insert into mail.last_login (username, at_epoch) select ${address}, 1700000000 + i ${every(many)}`,
    `insert into app.addresses (name, domain, kind, holds_name)
     select 'a' || i, ${domain(many)}, 'alias', false ${every(many)} where i % 10 < 2`,
    `insert into app.aliases (name, domain, targets)
     select 'a' || i, ${domain(many)}, array[${address}] ${every(many)} where i % 10 < 2`,
    `insert into app.audit_events (at, action, kind, name, object, domain, subject, issuer, request_id)
     select now() - i * interval '1 second', ${event} ${every(many)}`,
    'analyze app.addresses, app.verifiers, app.aliases, app.audit_events, mail.usage, mail.last_login',
  ])
}

/** Triggers sleep meanwhile, those of the foreign keys too: what is written here keeps them. */
async function fill(admin: pg.Pool, statements: string[]): Promise<void> {
  const client = await admin.connect()
  try {
    await client.query('set session_replication_role = replica')
    for (const statement of statements) await client.query(statement)
    await client.query('reset session_replication_role')
  } finally {
    client.release()
  }
}
