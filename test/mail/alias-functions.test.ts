import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { connectAs } from '../support/mail.ts'
import { startService } from '../support/service.ts'

// What the mail servers are told of aliases, alias domains and domains that do not accept mail yet.

const service = await startService()
const admin = await service.as()
const reader = await connectAs(service.admin.options.connectionString ?? '', 'read')
after(() => reader.end())

const password = 'MYSECRETPASSWORD'

async function ask(name: 'mailbox' | 'alias' | 'sender_login', address: string): Promise<string[]> {
  const at = address.lastIndexOf('@')
  const values = [address.slice(0, at), address.slice(at + 1)]
  const { rows } = await reader.query<{ r: string }>(`select r from mail.${name}($1, $2) as r`, values)
  return rows.map(({ r }) => r).sort()
}
const alias = (address: string) => ask('alias', address)
const senders = (address: string) => ask('sender_login', address)

async function make(address: string, targets: string[], more: object = {}): Promise<void> {
  const made = await admin.post('/v1/aliases', { address, targets, ...more })
  assert.equal(outcome(made), '201', address)
}

async function change(path: string, body: object): Promise<void> {
  assert.equal(outcome(await admin.patch(path, body)), '200', path)
}

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['a.jp', 'b.jp', 'catch.jp', 'lost.jp', 'fill.jp'])
    await admin.post('/v1/domains', { name })
  for (const address of [
    'u1@a.jp',
    'u2@a.jp',
    'u3@b.jp',
    'u4@catch.jp',
    'u5@catch.jp',
    'u6@lost.jp',
    'u7@fill.jp',
  ])
    assert.equal(outcome(await admin.post('/v1/mailboxes', { address, password })), '201')
  await admin.post('/v1/domains', { name: 'brand.jp', alias_of: 'a.jp' })
  await make('team@a.jp', ['u1@a.jp', 'u3+list@b.jp', 'desk@partner.example'])
})

describe('an alias', () => {
  test('leads to all its targets, whatever the case and the detail', async () => {
    const all = ['desk@partner.example', 'u1@a.jp', 'u3+list@b.jp']
    for (const address of ['team@a.jp', 'TEAM@A.jp', 'team+shop@a.jp'])
      assert.deepEqual(await alias(address), all, address)
    assert.deepEqual(await ask('mailbox', 'team@a.jp'), [])
    assert.deepEqual(await alias('u1@a.jp'), [], 'a mailbox stands for itself')
    assert.deepEqual(await alias('team@b.jp'), [])
  })

  test('leads through other aliases to where the mail arrives, once each', async () => {
    await make('all@a.jp', ['team@a.jp', 'u1@a.jp', 'u2@a.jp'])
    assert.deepEqual(await alias('all@a.jp'), ['desk@partner.example', 'u1@a.jp', 'u2@a.jp', 'u3+list@b.jp'])
  })

  test('leaves out targets that are gone, and is nobody when none is left', async () => {
    await make('brief@a.jp', ['u2@a.jp', 'u6@lost.jp'])
    await make('nested@a.jp', ['brief@a.jp'])
    await admin.delete('/v1/mailboxes/u6@lost.jp')
    assert.deepEqual(await alias('brief@a.jp'), ['u2@a.jp'])
    await admin.delete('/v1/mailboxes/u2@a.jp')
    for (const address of ['brief@a.jp', 'nested@a.jp']) assert.deepEqual(await alias(address), [])
    await admin.post('/v1/mailboxes/u2@a.jp/restore')
    for (const address of ['brief@a.jp', 'nested@a.jp']) assert.deepEqual(await alias(address), ['u2@a.jp'])
  })

  test('never leads outside because a domain is no longer here', async () => {
    await admin.post('/v1/domains', { name: 'leaves.jp' })
    await make('inner@leaves.jp', ['u1@a.jp'])
    await make('outer@a.jp', ['inner@leaves.jp', 'u1@a.jp'])
    await admin.delete('/v1/domains/leaves.jp')
    assert.deepEqual(await alias('outer@a.jp'), ['u1@a.jp'])
    assert.deepEqual((await admin.get('/v1/aliases/outer@a.jp')).body.broken_targets, ['inner@leaves.jp'])
  })

  test('stays with a target outside whose domain comes here, as soon as somebody is there', async () => {
    await make('moving@a.jp', ['x1@comes.jp'])
    assert.deepEqual(await alias('moving@a.jp'), ['x1@comes.jp'])
    await admin.post('/v1/domains', { name: 'comes.jp' })
    assert.deepEqual(await alias('moving@a.jp'), [])
    await admin.post('/v1/mailboxes', { address: 'x1@comes.jp', password })
    assert.deepEqual(await alias('moving@a.jp'), ['x1@comes.jp'])
  })

  test('of postmaster goes before the address of the postmaster, which may be an alias', async () => {
    await change('/v1/domains/b.jp', { postmaster_address: 'team@a.jp' })
    assert.deepEqual(await alias('postmaster@b.jp'), ['desk@partner.example', 'u1@a.jp', 'u3+list@b.jp'])
    await make('postmaster@b.jp', ['u3@b.jp'], { allow_role_name: true })
    assert.deepEqual(await alias('postmaster@b.jp'), ['u3@b.jp'])
    assert.equal((await alias('abuse@b.jp')).length, 3)
    await change('/v1/domains/b.jp', { postmaster_address: 'nobody@a.jp' })
    assert.deepEqual(await alias('abuse@b.jp'), [], 'refused rather than bounced')
  })
})

describe('a catch-all', () => {
  before(async () => {
    await make('@catch.jp', ['u4@catch.jp', 'team@a.jp'], { allow_role_name: true })
    await make('known@catch.jp', ['u1@a.jp'])
    await admin.delete('/v1/mailboxes/u5@catch.jp')
  })
  const everybody = ['desk@partner.example', 'u1@a.jp', 'u3+list@b.jp', 'u4@catch.jp']

  test('gets what never was an address, with and without a detail', async () => {
    for (const address of [
      'whoever@catch.jp',
      'who.ever+x@catch.jp',
      '"odd one"@catch.jp',
      'a=b@catch.jp',
      '+@catch.jp',
    ])
      assert.deepEqual(await alias(address), everybody, address)
    assert.deepEqual(await alias('@catch.jp'), [])
  })

  test('gets nothing of an address in any state', async () => {
    assert.deepEqual(await alias('u4@catch.jp'), [])
    assert.deepEqual(await alias('u4+x@catch.jp'), [])
    assert.deepEqual(await alias('known+x@catch.jp'), ['u1@a.jp'])
    assert.deepEqual(await alias('u5@catch.jp'), [], 'deleted')
    await admin.post('/v1/mailboxes', { address: 'u8@catch.jp', password })
    await make('stale@catch.jp', ['u8@catch.jp'])
    await admin.delete('/v1/mailboxes/u8@catch.jp')
    assert.deepEqual(await alias('stale@catch.jp'), [], 'an alias without a target')
    await admin.delete('/v1/mailboxes/u8@catch.jp?purge=true')
    assert.deepEqual(await alias('stale@catch.jp'), [], 'nor does it stand in for a target that is gone')
    assert.deepEqual(await alias('u8@catch.jp'), everybody, 'purged')
  })

  test('leaves postmaster to the postmaster', async () => {
    await change('/v1/domains/catch.jp', { postmaster_address: 'u1@a.jp' })
    assert.deepEqual(await alias('postmaster@catch.jp'), ['u1@a.jp'])
    await change('/v1/domains/catch.jp', { postmaster_address: null })
    assert.deepEqual(await alias('postmaster@catch.jp'), everybody)
  })

  test('lets nobody send as what it catches', async () => {
    for (const address of ['whoever@catch.jp', '@catch.jp', '+x@catch.jp'])
      assert.deepEqual(await senders(address), [], address)
  })
})

describe('sending as an alias', () => {
  test('is for the mailboxes among its targets, where it says so', async () => {
    assert.deepEqual(await senders('team@a.jp'), [])
    await change('/v1/aliases/team@a.jp', { send_as: true })
    assert.deepEqual(await senders('team@a.jp'), ['u1@a.jp', 'u3@b.jp'])
    assert.deepEqual(await senders('team+x@A.jp'), ['u1@a.jp', 'u3@b.jp'])
    await change('/v1/mailboxes/u1@a.jp', { locked: true })
    assert.deepEqual(await senders('team@a.jp'), ['u3@b.jp'])
    await change('/v1/mailboxes/u1@a.jp', { locked: false })
    await change('/v1/domains/a.jp', { locked: true })
    for (const address of ['team@a.jp', 'u1@a.jp', 'u1@brand.jp'])
      assert.deepEqual(await senders(address), [])
    await change('/v1/domains/a.jp', { locked: false })
  })

  test('goes through another alias only where both say so', async () => {
    await make('sub@a.jp', ['u2@a.jp'])
    await make('top@a.jp', ['sub@a.jp', 'u1@a.jp'], { send_as: true })
    assert.deepEqual(await senders('top@a.jp'), ['u1@a.jp'])
    await change('/v1/aliases/sub@a.jp', { send_as: true })
    assert.deepEqual(await senders('top@a.jp'), ['u1@a.jp', 'u2@a.jp'])
  })

  test('is not for what somebody limited to other domains was only forwarded to', async () => {
    const limited = await service.as({ domains: ['a.jp'] })
    await limited.post('/v1/aliases', { address: 'away@a.jp', targets: ['u3@b.jp'], send_as: true })
    assert.deepEqual(await alias('away@a.jp'), ['u3@b.jp'])
    assert.deepEqual(await senders('away@a.jp'), [])
  })
})

describe('an alias domain', () => {
  test('has every address of the other domain', async () => {
    assert.deepEqual(await alias('u1@brand.jp'), ['u1@a.jp'])
    assert.deepEqual(await alias('U1+shop@Brand.jp'), ['U1+shop@a.jp'])
    assert.deepEqual(await alias('team@brand.jp'), await alias('team@a.jp'))
    for (const nobody of ['nobody@brand.jp', '"odd"@brand.jp']) assert.deepEqual(await alias(nobody), [])
    await change('/v1/domains/a.jp', { postmaster_address: 'u2@a.jp' })
    assert.deepEqual(await alias('postmaster@brand.jp'), ['u2@a.jp'])
    await make('@a.jp', ['u2@a.jp'], { allow_role_name: true })
    assert.deepEqual(await alias('nobody@brand.jp'), ['u2@a.jp'])
    await admin.delete('/v1/aliases/@a.jp')
  })

  test('is sent from by their holders, who log in as ever', async () => {
    assert.deepEqual(await senders('u1@brand.jp'), ['u1@a.jp'])
    assert.deepEqual(await senders('team@brand.jp'), ['u1@a.jp', 'u3@b.jp'])
    const login = async (user: string) =>
      (await reader.query(`select "user" from mail.passdb($1, 'PLAIN', 'imap')`, [user])).rows[0].user
    assert.deepEqual([await login('u1@a.jp'), await login('u1@brand.jp')], ['u1@a.jp', null])
  })

  test('has their quota', async () => {
    const { rows } = await reader.query(`select "user" from mail.userdb('u1@brand.jp', 'quota-status')`)
    assert.deepEqual(rows, [{ user: 'u1@a.jp' }])
  })
})

describe('a domain that does not accept mail yet', () => {
  const domain = async (name: string) => (await reader.query('select mail.domain($1)', [name])).rowCount

  test('is none of ours to Postfix, but its mailboxes log in and send', async () => {
    await make('team@fill.jp', ['u7@fill.jp'], { send_as: true })
    await make('toward@a.jp', ['u7@fill.jp', 'team@fill.jp'])
    assert.deepEqual([await domain('fill.jp'), await ask('mailbox', 'u7@fill.jp')], [1, ['u7@fill.jp']])
    assert.deepEqual(await alias('toward@a.jp'), ['u7@fill.jp'])
    await change('/v1/domains/fill.jp', { accepts_mail: false })
    assert.equal((await admin.get('/v1/domains/fill.jp')).body.accepts_mail, false)
    assert.deepEqual([await domain('fill.jp'), await ask('mailbox', 'u7@fill.jp')], [0, []])
    assert.deepEqual(await alias('team@fill.jp'), [])
    assert.deepEqual(await alias('postmaster@fill.jp'), [])
    assert.deepEqual(
      await alias('toward@a.jp'),
      ['team@fill.jp', 'u7@fill.jp'],
      'it goes where others send it',
    )
    assert.deepEqual(await senders('u7@fill.jp'), ['u7@fill.jp'])
    assert.deepEqual(await senders('team@fill.jp'), ['u7@fill.jp'])
    const { rows } = await reader.query(`select "user" from mail.passdb('u7@fill.jp', 'PLAIN', 'imap')`)
    assert.equal(rows[0].user, 'u7@fill.jp')
    await change('/v1/domains/fill.jp', { accepts_mail: true })
    assert.deepEqual(await alias('team@fill.jp'), ['u7@fill.jp'])
  })

  test('may be an alias domain, or have one', async () => {
    await admin.post('/v1/domains', { name: 'later.jp', alias_of: 'fill.jp', accepts_mail: false })
    assert.deepEqual(await alias('u7@later.jp'), [])
    await change('/v1/domains/later.jp', { accepts_mail: true })
    assert.deepEqual(await alias('u7@later.jp'), ['u7@fill.jp'])
    await change('/v1/domains/fill.jp', { accepts_mail: false })
    assert.deepEqual(await alias('u7@later.jp'), ['u7@fill.jp'])
    assert.deepEqual(await alias('nobody@later.jp'), [])
    await change('/v1/domains/fill.jp', { accepts_mail: true })
  })
})

test('odd input has no row and no error', async () => {
  const odd = ['', '@', '%', "'", '\\', '+', '..', 'a@b', 'x'.repeat(10_000), '\u00e9', '"', '*', ' ']
  for (const local of odd) {
    for (const domain of [...odd, 'brand.jp', 'a.jp']) {
      const { rows } = await reader.query(
        'select (select count(*) from mail.alias($1, $2)) + (select count(*) from mail.sender_login($1, $2)) as n',
        [local, domain],
      )
      assert.equal(Number(rows[0].n), 0, `${local}@${domain}`)
    }
  }
})

test('answers within the time that mail_read has, however wide and deep somebody has spread his aliases', async () => {
  // past the limits of the API: 100 aliases with 100 targets each, three times over
  await service.admin.query(`
    with x as (
      insert into app.addresses (name, domain, kind, holds_name)
      select 'wide' || level || '-' || i, 'a.jp', 'alias', false
      from generate_series(0, 3) as level, generate_series(0, 99) as i
    )
    insert into app.aliases (name, domain, targets, forwarded)
    select 'wide' || level || '-' || i, 'a.jp', t.targets, case when level = 3 then t.targets else '{}' end
    from generate_series(0, 3) as level, generate_series(0, 99) as i cross join lateral (
      select array_agg(case when level = 3 then 'out' || i || '-' || j || '@far.example'
        else 'wide' || level + 1 || '-' || j || '@a.jp' end) as targets
      from generate_series(0, 99) as j
    ) as t`)
  assert.ok(
    (await alias('wide0-0@a.jp')).length > 1000,
    'more than Postfix takes, so that it defers the mail',
  )
})
