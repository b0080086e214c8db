import assert from 'node:assert/strict'
import type pg from 'pg'

/** What must hold in the tables whatever raced: a query each that finds the rows which break it. */
const violations = {
  'a mailbox without an account': `
    select name from app.mailboxes as m where not exists (select from app.accounts as a where a.name = m.name)`,
  'a mailbox without an address': `
    select name from app.mailboxes as m
    where not exists (select from app.addresses as x where x.name = m.name and x.domain = m.domain and x.kind = 'mailbox')`,
  'an address of a mailbox without it': `
    select name from app.addresses as x
    where kind = 'mailbox' and not exists (select from app.mailboxes as m where m.name = x.name and m.domain = x.domain)`,
  'an address without a domain': `
    select name from app.addresses as x where not exists (select from app.domains as d where d.name = x.domain)`,
  'a live mailbox in a domain that is not': `
    select m.name from app.mailboxes as m left join app.domains as d on d.name = m.domain
    where m.state = 'active' and d.state is distinct from 'active'`,
  'a deleted domain that holds its name for nothing': `
    select name from app.domains as d
    where state = 'deleted' and not exists (select from app.mailboxes as m where m.domain = d.name)`,
  'more mailboxes than the name has room for': `
    select name from app.addresses where holds_name group by name having count(*) > 1`,
  'a live mailbox on an account that is not': `
    select m.name from app.mailboxes as m join app.accounts as a on a.name = m.name
    where m.state = 'active' and a.state <> 'active'`,
  'a deleted account without its deleted mailbox': `
    select a.name from app.accounts as a
    where a.state = 'deleted' and not exists (select from app.mailboxes as m where m.name = a.name and m.state = 'deleted')`,
  'a password_file account without a mailbox': `
    select a.name from app.accounts as a
    where a.authentication = 'password_file' and not exists (select from app.mailboxes as m where m.name = a.name)`,
  'a held name without the alias that holds it, or the reverse': `
    select coalesce(a.name, x.name) as name
    from (select name from app.accounts where state = 'held') as a
      full join (select name from app.addresses where kind = 'alias' and holds_name) as x on x.name = a.name
    where a.name is null or x.name is null`,
  'a verifier without an account': `
    select name from app.verifiers as v where not exists (select from app.accounts as a where a.name = v.name)`,
  'an account whose mechanisms are not those of its verifiers': `
    select a.name from app.accounts as a
    where array(select unnest(a.mechanisms) order by 1)
      <> array(select mechanism from app.verifiers as v where v.name = a.name and mechanism <> 'ARGON2ID' order by 1)`,
  'an account with a password but without its verifier, or the reverse': `
    select a.name from app.accounts as a
    where (a.password_set_at is not null)
      <> exists (select from app.verifiers as v where v.name = a.name and mechanism = 'ARGON2ID')`,
}

/** Foreign keys say some of this already; here it is found even where one was dropped or never made. */
export async function assertInvariants(admin: pg.Pool): Promise<void> {
  for (const [what, query] of Object.entries(violations)) {
    const { rows } = await admin.query<{ name: string }>(query)
    assert.deepEqual(
      rows.map((row) => row.name),
      [],
      `there is ${what}`,
    )
  }
}
