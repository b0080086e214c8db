import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { afterEach, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { type Caller, startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.patch('/v1/server', { scram_iterations: 4096 })

afterEach(() => assertInvariants(service.admin))

let serial = 0
interface Pair {
  from: string
  to: string
  /** Follows the names, so that no two tests have one in common. */
  n: string
}

async function newDomain(values: object = {}): Promise<string> {
  const name = `move${++serial}.example`
  assert.equal(outcome(await admin.post('/v1/domains', { name, ...values })), '201')
  return name
}

async function newPair(names: string[] = [], values: object = {}): Promise<Pair> {
  const from = await newDomain()
  const n = `${serial}`
  const to = await newDomain(values)
  for (const name of names) await create(`${name}${n}@${from}`)
  return { from, to, n }
}

async function create(address: string, more: object = {}): Promise<string> {
  const { status, body } = await admin.post('/v1/mailboxes', { address, no_password: true, ...more })
  assert.equal(status, 201, JSON.stringify(body))
  return body.id
}

async function alias(address: string, targets: string[], more: object = {}): Promise<void> {
  assert.equal(outcome(await admin.post('/v1/aliases', { address, targets, ...more })), '201')
}

const move = (from: string, to: string, more: object = {}, client = admin) =>
  client.post(`/v1/domains/${from}/move`, { to, ...more })

async function targetsOf(address: string): Promise<string[]> {
  return (await admin.get(`/v1/aliases/${address}`)).body.targets
}

/** Where mail for the address arrives: itself, where it has a mailbox of its own. */
async function mailOf(address: string): Promise<string[]> {
  const [name, domain] = address.split('@')
  const { rows } = await service.admin.query<{ address: string }>(
    `select a.address from mail.alias($1, $2) as a (address)
     union all select b.address from mail.mailbox($1, $2) as b (address) order by 1`,
    [name, domain],
  )
  return rows.map((row) => row.address)
}

async function count(table: string, where: string, ...values: unknown[]): Promise<number> {
  const { rows } = await service.admin.query(`select count(*)::int as n from ${table} where ${where}`, values)
  return rows[0].n
}

describe('a move', () => {
  test('takes everything along, and the old addresses go on as an alias domain', async () => {
    const { from, to, n } = await newPair(['anna', 'bob', 'gone'])
    await admin.delete(`/v1/mailboxes/gone${n}@${from}`)
    await alias(`team@${from}`, [`anna${n}@${from}`, 'a@outside.example', `bob${n}+x@${from}`])
    const before = (await admin.get(`/v1/mailboxes/anna${n}@${from}`)).body
    const moved = await move(from, to)
    assert.deepEqual(moved.body, {
      ...{ domain: from, to, kept_as_alias: true },
      ...{ mailboxes_moved: 3, aliases_moved: 1, aliases_dropped: 0, alias_domains_moved: 0 },
    })
    const old = await admin.get(`/v1/domains/${from}`)
    assert.deepEqual([old.body.alias_of, old.body.mailbox_count], [to, 0])
    assert.equal(moved.headers.get('etag'), old.headers.get('etag'))
    assert.equal((await admin.get(`/v1/domains/${to}`)).body.mailbox_count, 2)
    const after = (await admin.get(`/v1/mailboxes/anna${n}@${to}`)).body
    assert.deepEqual(
      [after.id, after.account, after.created_at],
      [before.id, before.account, before.created_at],
    )
    assert.equal(outcome(await admin.get(`/v1/mailboxes/anna${n}@${from}`)), '404 mailbox-not-found')
    const deleted = await admin.get(`/v1/mailboxes?domain=${to}&state=deleted`)
    assert.deepEqual(
      deleted.body.items.map((one: { address: string }) => one.address),
      [`gone${n}@${to}`],
    )
    assert.equal(outcome(await admin.post(`/v1/mailboxes/gone${n}@${to}/restore`)), '200')
    const targets = [`anna${n}@${to}`, 'a@outside.example', `bob${n}+x@${to}`]
    assert.deepEqual(await targetsOf(`team@${to}`), targets)
    for (const domain of [from, to]) {
      assert.deepEqual(await mailOf(`anna${n}@${domain}`), [`anna${n}@${to}`])
      assert.deepEqual(await mailOf(`team@${domain}`), [...targets].sort())
    }
  })

  test('has both logins changed at once, and the password kept', async () => {
    const { from, to, n } = await newPair()
    await create(`p${n}@${from}`, { no_password: false, password: 'MYSECRETPASSWORD' })
    await move(from, to)
    const { credentials, login_blocked_by } = (await admin.get(`/v1/mailboxes/p${n}@${to}`)).body
    assert.deepEqual(login_blocked_by, [])
    assert.equal(credentials.clear_text.username, `p${n}@${to}`)
    assert.equal(credentials.secure_password.username, `p${n}`)
    const user = async (login: string) =>
      (await service.admin.query(`select "user" from mail.passdb($1, 'PLAIN', 'imap')`, [login])).rows[0].user
    assert.deepEqual([await user(`p${n}@${to}`), await user(`p${n}@${from}`)], [`p${n}@${to}`, null])
    const check = await admin.post(`/v1/accounts/p${n}/password/check`, { password: 'MYSECRETPASSWORD' })
    assert.equal(check.body.valid, true)
  })

  test('without an alias leaves the old domain empty, and nothing of it is deliverable', async () => {
    const { from, to, n } = await newPair(['anna'])
    await alias(`team@${from}`, [`anna${n}@${from}`])
    const moved = await move(from, to, { keep_old_as_alias: false })
    assert.deepEqual([moved.body.kept_as_alias, moved.body.mailboxes_moved], [false, 1])
    const old = (await admin.get(`/v1/domains/${from}`)).body
    assert.deepEqual([old.alias_of, old.mailbox_count, old.state], [null, 0, 'active'])
    for (const name of [`anna${n}`, 'team']) assert.deepEqual(await mailOf(`${name}@${from}`), [])
    assert.deepEqual(await mailOf(`team@${to}`), [`anna${n}@${to}`])
    assert.equal(outcome(await admin.delete(`/v1/domains/${from}`)), '204')
  })

  test('can be repeated, and answers with zeros', async () => {
    const { from, to } = await newPair(['anna'])
    const first = await move(from, to)
    const again = await move(from, to)
    assert.deepEqual([again.status, again.body.mailboxes_moved, again.body.kept_as_alias], [200, 0, true])
    assert.equal(again.headers.get('etag'), first.headers.get('etag'))
    const { from: other, to: there } = await newPair(['anna'])
    for (const moved of [1, 0]) {
      const { body } = await move(other, there, { keep_old_as_alias: false })
      assert.equal(body.mailboxes_moved, moved)
    }
  })

  test('takes those on hold along, and the jobs end the sessions of the old addresses', async () => {
    const { from, to, n } = await newPair(['held'])
    await admin.patch(`/v1/mailboxes/held${n}@${from}`, { hold: true })
    await admin.delete(`/v1/mailboxes/held${n}@${from}`)
    assert.equal((await move(from, to)).body.mailboxes_moved, 1)
    assert.equal(await count('app.mailboxes', 'domain = $1 and hold', to), 1)
    const jobs = (domain: string) => count('graphile_worker.jobs', 'key = $1', `end-sessions:*@${domain}`)
    assert.equal(await jobs(from), 0, 'nobody can be logged in there')
    const { from: other, to: there } = await newPair(['anna'])
    await move(other, there)
    assert.equal(await jobs(other), 1)
  })

  test('takes usage and last logins along', async () => {
    const { from, to, n } = await newPair(['anna'])
    const was = `anna${n}@${from}`
    await service.admin.query('insert into mail.usage (username, bytes, messages) values ($1, 77, 3)', [was])
    await service.admin.query('insert into mail.last_login values ($1, 1795000000)', [was])
    await move(from, to)
    const { usage, last_login_at } = (await admin.get(`/v1/mailboxes/anna${n}@${to}`)).body
    assert.deepEqual([usage.bytes, usage.messages], [77, 3])
    assert.equal(Date.parse(last_login_at), 1_795_000_000_000)
    assert.equal(await count('mail.usage', 'username = $1', was), 0)
  })

  test('drops the verifiers that the new domain does not list', async () => {
    const { from, to, n } = await newPair()
    const both = { secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] }
    await admin.patch(`/v1/domains/${from}`, both)
    await create(`p${n}@${from}`, { no_password: false, generate_password: true })
    const listed = async (domain: string) =>
      (await admin.get(`/v1/mailboxes/p${n}@${domain}`)).body.credentials.secure_password.mechanisms
    assert.deepEqual(await listed(from), ['SCRAM-SHA-256', 'CRAM-MD5'])
    await move(from, to)
    assert.deepEqual(await listed(to), ['SCRAM-SHA-256'])
    assert.equal(await count('app.verifiers', `name = $1 and mechanism = 'CRAM-MD5'`, `p${n}`), 0)
  })

  test('has the lock and the quota of the new domain, and what is its own', async () => {
    const { from, to, n } = await newPair(['anna', 'own'], { default_quota_bytes: 5000 })
    await admin.patch(`/v1/domains/${from}`, { locked: true, default_quota_bytes: 9000 })
    await admin.patch(`/v1/mailboxes/own${n}@${from}`, { locked: true, quota_bytes: 7000 })
    await move(from, to)
    const [anna, own] = [
      (await admin.get(`/v1/mailboxes/anna${n}@${to}`)).body,
      (await admin.get(`/v1/mailboxes/own${n}@${to}`)).body,
    ]
    assert.deepEqual([anna.effective_locked, anna.effective_quota_bytes], [false, 5000])
    assert.deepEqual([own.effective_locked, own.effective_quota_bytes], [true, 7000])
  })
})

describe('what names an old address elsewhere', () => {
  test('names the new one', async () => {
    const { from, to, n } = await newPair(['anna', 'bob'])
    const far = await newDomain({ postmaster_address: `anna${n}@${from}` })
    await alias(`both@${far}`, [`anna${n}@${from}`, `bob${n}@${from}`, 'x@outside.example'])
    await create(`fwd${n}@${far}`, { forward_to: [`bob${n}+fwd@${from}`] })
    await admin.patch('/v1/server', { postmaster_address: `bob${n}@${from}` })
    assert.equal(outcome(await move(from, to, { keep_old_as_alias: false })), '200')
    assert.deepEqual(await targetsOf(`both@${far}`), [`anna${n}@${to}`, `bob${n}@${to}`, 'x@outside.example'])
    assert.deepEqual((await admin.get(`/v1/mailboxes/fwd${n}@${far}`)).body.forward_to, [`bob${n}+fwd@${to}`])
    assert.equal((await admin.get(`/v1/domains/${far}`)).body.postmaster_address, `anna${n}@${to}`)
    assert.equal((await admin.get('/v1/server')).body.postmaster_address, `bob${n}@${to}`)
    await admin.patch('/v1/server', { postmaster_address: null })
  })

  test('has each address once', async () => {
    const { from, to, n } = await newPair(['anna'])
    await admin.post(`/v1/mailboxes/anna${n}@${from}/rename`, { address: `anna${n}@${to}` })
    const far = await newDomain()
    await alias(`twice@${far}`, [`anna${n}@${from}`, 'x@outside.example', `anna${n}@${to}`])
    assert.equal(outcome(await move(from, to)), '200')
    assert.deepEqual(await targetsOf(`twice@${far}`), [`anna${n}@${to}`, 'x@outside.example'])
  })

  test('loses its detail, or stays, where the new address would be too long', async () => {
    const long = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.example`
    await admin.post('/v1/domains', { name: long })
    const { from, n } = await newPair(['anna'])
    const far = await newDomain()
    const detail = 'd'.repeat(59 - n.length)
    await alias(`list@${far}`, [`anna${n}+${detail}@${from}`])
    await service.admin.query('update app.aliases set targets = targets || $1::text where domain = $2', [
      `${'e'.repeat(64)}@${from}`,
      far,
    ])
    assert.equal(outcome(await move(from, long)), '200')
    assert.deepEqual(await targetsOf(`list@${far}`), [`anna${n}@${long}`, `${'e'.repeat(64)}@${from}`])
  })

  test('an alias that a rename left keeps its name held, and goes with its mailbox', async () => {
    const { from, to, n } = await newPair(['old'])
    await admin.post(`/v1/mailboxes/old${n}@${from}/rename`, { address: `new${n}@${from}` })
    await move(from, to)
    assert.deepEqual(await targetsOf(`old${n}@${to}`), [`new${n}@${to}`])
    const taken = await admin.post('/v1/mailboxes', { address: `old${n}@${from.replace('move', 'x')}` })
    assert.notEqual(taken.status, 201)
    assert.equal((await admin.get(`/v1/aliases/old${n}@${to}`)).body.holds_name, true)
    assert.equal(outcome(await admin.delete(`/v1/mailboxes/new${n}@${to}?purge=true`)), '204')
    assert.equal(outcome(await admin.get(`/v1/aliases/old${n}@${to}`)), '404 alias-not-found')
  })

  test('alias domains follow, whether the old domain is kept or not', async () => {
    for (const keep of [true, false]) {
      const { from, to, n } = await newPair(['anna'])
      const other = await newDomain({ alias_of: from })
      const { body } = await move(from, to, { keep_old_as_alias: keep })
      assert.equal(body.alias_domains_moved, 1)
      assert.equal((await admin.get(`/v1/domains/${other}`)).body.alias_of, to)
      assert.deepEqual(await mailOf(`anna${n}@${other}`), [`anna${n}@${to}`])
    }
  })

  test('a catch-all catches for the new domain from now on', async () => {
    const { from, to, n } = await newPair(['anna'])
    await alias(`@${from}`, [`anna${n}@${from}`], { allow_role_name: true })
    assert.equal(outcome(await move(from, to)), '422 role-name-refused')
    assert.equal((await move(from, to, { allow_role_name: true })).body.aliases_moved, 1)
    for (const domain of [from, to]) assert.deepEqual(await mailOf(`nobody@${domain}`), [`anna${n}@${to}`])
  })
})

describe('aliases that only say what the move does give way', () => {
  test('in the domain that was prepared', async () => {
    const { from, to, n } = await newPair(['anna'])
    await alias(`anna${n}@${to}`, [`anna${n}@${from}`])
    const { body } = await move(from, to)
    assert.deepEqual([body.mailboxes_moved, body.aliases_moved, body.aliases_dropped], [1, 0, 1])
    assert.deepEqual(await mailOf(`anna${n}@${from}`), [`anna${n}@${to}`])
  })

  test('and in the old one, of a mailbox that went ahead', async () => {
    const { from, to, n } = await newPair(['anna', 'bob'])
    await admin.post(`/v1/mailboxes/anna${n}@${from}/rename`, { address: `anna${n}@${to}` })
    const { body } = await move(from, to)
    assert.deepEqual([body.mailboxes_moved, body.aliases_moved, body.aliases_dropped], [1, 0, 1])
    assert.deepEqual(await mailOf(`anna${n}@${from}`), [`anna${n}@${to}`])
  })

  test('but not one that sends to others too', async () => {
    const { from, to, n } = await newPair(['anna', 'bob'])
    await alias(`anna${n}@${to}`, [`anna${n}@${from}`, `bob${n}@${from}`])
    assert.equal(outcome(await move(from, to)), '409 addresses-taken')
    assert.deepEqual(await targetsOf(`anna${n}@${to}`), [`anna${n}@${from}`, `bob${n}@${from}`])
  })
})

describe('a move is refused, and nothing is moved,', () => {
  async function assertRefused(expected: string, { from, to }: Pair, more: object = {}) {
    const { rows: before } = await service.admin.query('select * from app.addresses order by name, domain')
    const refused = await move(from, to, more)
    assert.equal(outcome(refused), expected)
    const { rows: after } = await service.admin.query('select * from app.addresses order by name, domain')
    assert.deepEqual(after, before)
    return refused.body
  }

  test('where an alias has the name of an address of the new domain', async () => {
    const pair = await newPair(['anna', 'dora'])
    const { from, to, n } = pair
    await alias(`dora${n}@${to}`, [`anna${n}@${from}`])
    await alias(`desk@${from}`, [`anna${n}@${from}`])
    await alias(`desk@${to}`, [`anna${n}@${from}`])
    const { conflict, errors } = await assertRefused('409 addresses-taken', pair)
    assert.deepEqual(conflict, { kind: 'alias', address: `desk@${to}` })
    assert.deepEqual(errors, [
      { pointer: '/to', detail: `desk@${to} is there already (alias).` },
      { pointer: '/to', detail: `dora${n}@${to} is there already (alias).` },
    ])
    await admin.delete(`/v1/aliases/desk@${to}`)
    await admin.delete(`/v1/aliases/dora${n}@${to}`)
    await create(`mary${n}@${to}`)
    await alias(`mary${n}@${from}`, [`anna${n}@${from}`])
    const other = await assertRefused('409 addresses-taken', pair)
    assert.deepEqual(other.conflict, { kind: 'mailbox', address: `mary${n}@${to}` })
  })

  test('where both have a catch-all', async () => {
    const pair = await newPair(['anna'])
    for (const domain of [pair.from, pair.to])
      await alias(`@${domain}`, [`anna${pair.n}@${pair.from}`], { allow_role_name: true })
    const { conflict } = await assertRefused('409 addresses-taken', pair, { allow_role_name: true })
    assert.equal(conflict.address, `@${pair.to}`)
  })

  test('where an address is a role name', async () => {
    const pair = await newPair(['anna'])
    await alias(`info@${pair.from}`, [`anna${pair.n}@${pair.from}`], { allow_role_name: true })
    const { detail, errors } = await assertRefused('422 role-name-refused', pair)
    assert.match(detail, new RegExp(`\\(info@${pair.from}\\)`))
    assert.equal(errors[0].pointer, '/allow_role_name')
    assert.equal(outcome(await move(pair.from, pair.to, { allow_role_name: true })), '200')
  })

  test('where the new domain would have more mailboxes than it may', async () => {
    const pair = await newPair(['a', 'b', 'gone'], { mailbox_limit: 2 })
    await create(`there${pair.n}@${pair.to}`)
    await assertRefused('409 mailbox-limit-reached', pair)
    await admin.delete(`/v1/mailboxes/gone${pair.n}@${pair.from}`)
    await admin.delete(`/v1/mailboxes/there${pair.n}@${pair.to}`)
    assert.equal(outcome(await move(pair.from, pair.to)), '200')
  })

  test('where an address would be too long', async () => {
    const to = `${'a'.repeat(60)}.${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(15)}.example`
    await admin.post('/v1/domains', { name: to })
    const pair = { ...(await newPair(['anna'])), to }
    await alias(`${'e'.repeat(64)}@${pair.from}`, [`anna${pair.n}@${pair.from}`])
    await assertRefused('422 invalid-address', pair)
  })

  test('where the mail of an alias would come back to it', async () => {
    const pair = await newPair(['anna', 'nobody'])
    const { from, to, n } = pair
    await alias(`second@${to}`, [`nobody${n}@${from}`, `anna${n}@${from}`])
    await alias(`nobody${n}x@${to}`, [`second@${to}`])
    await admin.post(`/v1/mailboxes/nobody${n}@${from}/rename`, {
      address: `other${n}@${from}`,
      keep_old_as_alias: false,
    })
    // A target that nothing stands behind in the old domain, as a deletion leaves it.
    await service.admin.query(`update app.aliases set targets = $1 where name = 'second' and domain = $2`, [
      [`nobody${n}x@${from}`, `anna${n}@${from}`],
      to,
    ])
    const { detail } = await assertRefused('409 alias-loop', pair)
    assert.match(detail, new RegExp(`second@${to}`))
  })

  test('where mail would pass too many aliases', async () => {
    const pair = await newPair(['anna'])
    const { from, to, n } = pair
    await alias(`c1@${to}`, [`anna${n}@${from}`])
    for (let i = 2; i <= 5; i++) await alias(`c${i}@${to}`, [`c${i - 1}@${to}`])
    await alias(`start@${to}`, [`anna${n}@${from}`])
    await service.admin.query(`update app.aliases set targets = $1 where name = 'start' and domain = $2`, [
      [`c5@${from}`],
      to,
    ])
    await assertRefused('409 alias-limit-reached', pair)
  })

  test('to what is no domain here, deleted, an alias, itself, or no name', async () => {
    const pair = await newPair(['anna'])
    const deleted = await newDomain()
    await create(`x${pair.n}@${deleted}`)
    await admin.delete(`/v1/domains/${deleted}?mailboxes=delete&expect=1`)
    const another = await newDomain({ alias_of: await newDomain() })
    const own = await newDomain({ alias_of: pair.from })
    for (const [to, expected] of [
      ['nowhere.example', '422 unknown-domain'],
      [deleted, '422 unknown-domain'],
      [another, '422 alias-domain'],
      [own, '422 alias-domain'],
      [pair.from, '422 alias-domain'],
      ['a..b', '422 invalid-domain-name'],
      [7 as unknown as string, '400 invalid-request'],
    ] as const)
      await assertRefused(expected, { ...pair, to })
    await assertRefused('404 domain-not-found', { ...pair, from: deleted })
    await assertRefused('404 domain-not-found', { ...pair, from: 'nowhere.example' })
    await assertRefused('422 alias-domain', { ...pair, from: another })
    await assertRefused(
      '422 alias-domain',
      { ...pair, from: own, to: pair.from },
      { keep_old_as_alias: false },
    )
  })

  test('under another version', async () => {
    const { from, to } = await newPair(['anna'])
    const { headers } = await admin.get(`/v1/domains/${from}`)
    const path = `/v1/domains/${from}/move`
    const stale = { headers: { 'if-match': `"${randomUUID()}"` } }
    assert.equal(outcome(await admin.post(path, { to }, stale)), '412 precondition-failed')
    const fresh = { headers: { 'if-match': headers.get('etag')! } }
    assert.equal(outcome(await admin.post(path, { to }, fresh)), '200')
  })

  test('without the scopes, or to a caller with some domains', async () => {
    const { from, to } = await newPair(['anna'])
    const own: Caller = { scopes: ['domains:write', 'mailboxes:write'] }
    const cases: [Caller, object][] = [
      [{ scopes: ['domains:write'] }, {}],
      [{ scopes: ['mailboxes:write'] }, {}],
      [own, { keep_old_as_alias: false }],
      [own, { allow_role_name: true }],
      [{ ...own, domains: [from, to] }, {}],
    ]
    for (const [caller, more] of cases) {
      const refused = await move(from, to, more, await service.as(caller))
      assert.equal(outcome(refused), '403 insufficient-scope', JSON.stringify([caller, more]))
    }
    assert.equal(outcome(await move(from, to, {}, await service.as(own))), '200')
  })
})

test('the holders of each domain see in the audit what became of it, and not the other', async () => {
  const { from, to, n } = await newPair(['anna'])
  const far = await newDomain({ alias_of: from })
  await alias(`team@${from}`, [`anna${n}@${from}`])
  await move(from, to)
  const seen = async (domains: string[] | '*') => {
    const client = await service.as({ scopes: ['audit:read'], domains: domains === '*' ? ['*'] : domains })
    const { items } = (await client.get('/v1/audit-events?action=domain.move')).body
    return items
  }
  const [left, ...noMore] = await seen([from])
  assert.deepEqual(noMore, [])
  assert.deepEqual([left.object, left.after], [from, { kept_as_alias: true, mailboxes: 1, aliases: 1 }])
  const [came] = await seen([to])
  assert.deepEqual([came.object, came.after], [to, { mailboxes: 1, aliases: 1 }])
  const all = (await seen('*')).filter((one: { object: string }) => one.object === from)
  assert.deepEqual(all.find((one: { domain: string | null }) => one.domain === null).after, {
    kept_as_alias: true,
    mailboxes: 1,
    aliases: 1,
    to,
    alias_domains: 1,
  })
  for (const [own, foreign] of [
    [from, to],
    [to, from],
    [far, to],
  ] as const) {
    const client = await service.as({ scopes: ['audit:read'], domains: [own] })
    const { items } = (await client.get('/v1/audit-events')).body
    // whoever sends to the moved, from afar, sees where to
    const told = own === far ? /move|rename|domain.update/ : /^(?!domain.create)/
    const since = items.filter((one: { action: string }) => told.test(one.action))
    assert.ok(since.length > 0)
    assert.ok(!JSON.stringify(since).includes(foreign), JSON.stringify(since))
  }
})

test('what was tried moves nothing', async () => {
  const { from, to, n } = await newPair(['anna'])
  const tried = await admin.post(`/v1/domains/${from}/move?dry_run=true`, { to })
  assert.deepEqual([tried.status, tried.body.mailboxes_moved], [200, 1])
  assert.equal((await admin.get(`/v1/mailboxes/anna${n}@${from}`)).status, 200)
  assert.equal((await admin.get(`/v1/domains/${from}`)).body.alias_of, null)
})

test('twenty thousand mailboxes of a domain that Postgres knows nothing of go together', async (t) => {
  const { from, to } = await newPair()
  const { from: other } = await newPair()
  const fill = (domain: string, prefix: string) =>
    service.admin.query(
      `with a as (
         insert into app.accounts (name, authentication)
         select $2 || g, 'local' from generate_series(1, 20000) as g returning name
       ), x as (
         insert into app.addresses (name, domain, kind, holds_name) select name, $1, 'mailbox', true from a
       )
       insert into app.mailboxes (name, domain) select name, $1 from a`,
      [domain, prefix],
    )
  // what checks the foreign keys now has its plan, for tables that are small
  await service.admin.query('analyze')
  for (let i = 0; i < 12; i++) await create(`few${serial}${'x'.repeat(i)}@${from}`)
  await fill(from, 'crowd')
  await fill(other, 'others')
  const began = Date.now()
  assert.equal((await move(from, to)).body.mailboxes_moved, 20_012)
  const seconds = (Date.now() - began) / 1000
  t.diagnostic(`${seconds} s`)
  assert.ok(seconds < 60, `${seconds} s: each row reads a whole table`) // else it takes minutes
  assert.equal(await count('app.mailboxes', 'domain = $1', to), 20_012)
  assert.equal(await count('app.mailboxes', 'domain = $1', other), 20_000)
  assert.equal(await count('app.audit_events', `action = 'mailbox.rename' and domain = $1`, to), 20_012)
})
