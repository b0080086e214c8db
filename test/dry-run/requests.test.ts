import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, test } from 'node:test'
import pg from 'pg'
import { lockNumber } from '../../src/idempotency/key.ts'
import { outcome } from '../support/client.ts'
import { assertInvariants } from '../support/invariants.ts'
import { assertOutcomes, startRaces, until } from '../support/races.ts'
import { everyRow } from '../support/rows.ts'

const {
  service,
  here: client,
  race,
  count,
  newName,
  newDomain,
  newMailbox,
  holding,
  untilWaiting,
} = await startRaces()
const { admin } = service
const domain = 'example.jp'
const dry = '?dry_run=true'

before(() => client.post('/v1/domains', { name: domain }))

const newAddress = () => `${newName()}@${domain}`

/** Sessions of the service that are in a transaction. */
async function openTransactions(): Promise<number> {
  const { rows } = await admin.query(
    `select from pg_stat_activity
     where datname = current_database() and application_name = 'mailwright' and state <> 'idle'`,
  )
  return rows.length
}

async function assertUnchanged<T>(work: () => Promise<T>): Promise<T> {
  const rows = await everyRow(admin)
  const result = await work()
  assert.deepEqual(await everyRow(admin), rows)
  return result
}

test('only true is a trial, and false is as if nothing were said', async () => {
  const address = newAddress()
  for (const query of ['?dry_run=', '?dry_run=1', '?dry_run=yes', `${dry}&dry_run=true`]) {
    const reply = await client.post(`/v1/mailboxes${query}`, { address, generate_password: true })
    assert.equal(outcome(reply), '400 invalid-request', query)
    assert.equal(reply.body.errors[0].pointer, 'query/dry_run')
  }
  const done = await client.post('/v1/mailboxes?dry_run=false', { address, generate_password: true })
  assert.deepEqual([outcome(done), done.headers.get('dry-run')], ['201', null])
  assert.equal((await client.get(`/v1/mailboxes/${address}`)).etag, done.etag)
})

test('a GET has nothing to try', async () => {
  for (const path of ['/v1/mailboxes', '/v1/server', `/v1/domains/${domain}`]) {
    assert.equal(outcome(await client.get(`${path}${dry}`)), '400 invalid-request')
  }
})

test('the parameter stands beside those of the operation', async () => {
  const address = await newMailbox(domain)
  const query = `${dry}&purge=true&account=delete`
  const tried = await assertUnchanged(() => client.delete(`/v1/mailboxes/${address}${query}`))
  assert.deepEqual([tried.status, tried.headers.get('dry-run')], [204, 'true'])
  assert.equal((await client.get(`/v1/mailboxes/${address}`)).status, 200)
})

test('a password that is made in a trial is not shown, whatever makes it', async () => {
  const address = newAddress()
  const body = { generate_password: true }
  const replies = await assertUnchanged(() =>
    Promise.all([
      client.post(`/v1/mailboxes${dry}`, { ...body, address }),
      client.put(`/v1/mailboxes/${address}${dry}`, body),
      client.post(`/v1/accounts${dry}`, { ...body, name: newName() }),
    ]),
  )
  const existing = await newMailbox(domain)
  replies.push(await client.put(`/v1/accounts/${existing.split('@')[0]}/password${dry}`, body))
  for (const reply of replies) {
    assert.ok([200, 201].includes(reply.status), outcome(reply))
    assert.deepEqual([reply.body.secret_omitted, reply.body.generated_password], [true, undefined])
  }
})

test('a trial judges the password but spends no hash on it', async () => {
  const address = newAddress()
  const strict = await client.post(`/v1/mailboxes${dry}`, { address, password: 'short' })
  assert.equal(outcome(strict), '422 password-too-weak')
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const busy = Array.from({ length: 8 }, () => service.derivations.run(() => held))
  try {
    const reply = await client.post(`/v1/mailboxes${dry}`, { address, password: 'correct horse battery' })
    assert.equal(outcome(reply), '201')
  } finally {
    release()
    await Promise.all(busy)
  }
})

test('the log says of a request that it was only tried', async () => {
  const reply = await client.post(`/v1/domains${dry}`, { name: 'logged.example' })
  const line = () => {
    const lines = service.log.map((text) => JSON.parse(text))
    return lines.find(({ reqId, msg }) => reqId === reply.headers.get('x-request-id') && msg === 'request')
  }
  await until(() => line() !== undefined)
  assert.deepEqual([line().status, line().dry_run], [201, true])
})

test('a key is judged and not kept: the first real request under it is done', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const headers = { 'idempotency-key': key }
  const body = { address, generate_password: true }
  const tried = await assertUnchanged(() => client.post(`/v1/mailboxes${dry}`, body, { headers }))
  assert.deepEqual([outcome(tried), tried.headers.get('idempotency-replayed')], ['201', null])
  const done = await client.post('/v1/mailboxes', body, { headers })
  assert.deepEqual([outcome(done), done.headers.get('idempotency-replayed')], ['201', null])
  for (const query of [dry, '?dry%5Frun=true']) {
    const again = await assertUnchanged(() => client.post(`/v1/mailboxes${query}`, body, { headers }))
    assert.deepEqual(
      ['idempotency-replayed', 'dry-run', 'etag', 'location'].map((name) => again.headers.get(name)),
      ['true', 'true', done.etag, done.headers.get('location')],
    )
    assert.equal(again.body.id, done.body.id)
  }
  const other = { ...body, address: newAddress() }
  const reused = await assertUnchanged(() => client.post(`/v1/mailboxes${dry}`, other, { headers }))
  assert.equal(outcome(reused), '422 idempotency-key-reused')
})

test('a key that another request holds is in use, and a trial holds none', async () => {
  const [key, address] = [randomUUID(), newAddress()]
  const headers = { 'idempotency-key': key }
  const send = (query: string) =>
    client.post(`/v1/mailboxes${query}`, { address, generate_password: true }, { headers })
  const number = lockNumber({ issuer: service.keys.installation, subject: 'test', key })
  const holder = await admin.connect()
  try {
    await holder.query('begin')
    await holder.query('select pg_advisory_xact_lock($1::bigint)', [number])
    assert.equal(outcome(await send(dry)), '409 idempotency-key-in-use')
  } finally {
    await holder.query('rollback')
    holder.release()
  }
  const [tried] = await holding('domains', domain, async () => {
    const sent = send(dry)
    await untilWaiting(1) // in the middle of its transaction
    const { rows } = await admin.query('select pg_try_advisory_xact_lock($1::bigint) as free', [number])
    assert.equal(rows[0].free, true)
    return [sent]
  })
  assert.equal(outcome(tried!), '201')
})

test('fifty trials of a name and one who takes it: nobody is in the way of another', async () => {
  const address = newAddress()
  const replies = await race(51, (one, i) =>
    one.post(`/v1/mailboxes${i === 25 ? '' : dry}`, { address, password: 'correct horse battery' }),
  )
  const [real] = replies.splice(25, 1)
  assert.equal(outcome(real!), '201')
  assertOutcomes(replies, '201', '409 mailbox-exists')
  assert.ok(replies.every(({ headers }) => headers.get('dry-run') === 'true'))
  const { body } = await client.get(`/v1/mailboxes/${address}`)
  assert.equal(body.id, real!.body.id)
  assert.equal(await count('addresses', 'name = $1', body.name), 1)
  assert.equal(await openTransactions(), 0)
  await assertInvariants(admin)
})

test('a limit that one mailbox is left of lets each of fifty trials pass', async () => {
  const limited = await newDomain({ mailbox_limit: 1 })
  const replies = await assertUnchanged(() =>
    race(50, (one) =>
      one.post(`/v1/mailboxes${dry}`, { address: `${newName()}@${limited}`, generate_password: true }),
    ),
  )
  assertOutcomes(replies, '201')
})

test('who listens for jobs hears nothing of a trial', async (t) => {
  const address = await newMailbox(domain)
  const listener = new pg.Client(String(admin.options.connectionString))
  await listener.connect()
  t.after(() => listener.end())
  const heard: string[] = []
  listener.on('notification', ({ channel }) => heard.push(channel))
  await listener.query('listen "jobs:insert"')
  const tried = await assertUnchanged(() => client.delete(`/v1/mailboxes/${address}${dry}`))
  await listener.query('select 1') // what was sent before arrives with the answer
  assert.deepEqual([tried.status, heard], [204, []])
  assert.equal((await client.delete(`/v1/mailboxes/${address}`)).status, 204)
  await until(() => heard.length > 0)
})

test('failing trials give their connections back', async () => {
  const address = await newMailbox(domain)
  const rows = await everyRow(admin)
  await admin.query('alter table app.addresses rename to gone_addresses')
  try {
    const replies = await race(60, (one, i) =>
      i % 3 === 0
        ? one.delete(`/v1/mailboxes/${address}${dry}&purge=true`)
        : one.post(`/v1/mailboxes${dry}`, { address: newAddress(), generate_password: true }),
    )
    assertOutcomes(replies, '500 internal-error')
  } finally {
    await admin.query('alter table app.gone_addresses rename to addresses')
  }
  assert.equal(await openTransactions(), 0)
  assert.deepEqual(await everyRow(admin), rows)
  const after = await race(30, (one) => one.get(`/v1/mailboxes/${address}`))
  assertOutcomes(after, '200')
})

test('a trial whose client goes away is undone too', async () => {
  const address = await newMailbox(domain)
  const rows = await everyRow(admin)
  const leaving = new AbortController()
  await holding('mailboxes', address.split('@')[0]!, async () => {
    const sent = fetch(new URL(`/v1/mailboxes/${address}${dry}`, service.url), {
      method: 'DELETE',
      headers: { authorization: `Bearer ${client.token}` },
      signal: leaving.signal,
    })
    await untilWaiting(1)
    leaving.abort()
    await assert.rejects(sent, /abort/i)
    return []
  })
  await until(async () => (await openTransactions()) === 0)
  assert.deepEqual(await everyRow(admin), rows)
  assert.equal(outcome(await client.delete(`/v1/mailboxes/${address}${dry}`)), '204')
})

test('a trial gives way: it does not wait long for what another holds', async () => {
  const address = await newMailbox(domain)
  const blocker = await admin.connect()
  try {
    await blocker.query('begin')
    await blocker.query('select from app.mailboxes where name = $1 for update', [address.split('@')[0]])
    assert.equal(outcome(await client.delete(`/v1/mailboxes/${address}${dry}`)), '503 busy')
  } finally {
    await blocker.query('rollback')
    blocker.release()
  }
  assert.equal(await openTransactions(), 0)
})

test('a trial of what takes long has no more time than others', async () => {
  const name = await newDomain()
  await admin.query(`
    create function app.refuse_long() returns trigger language plpgsql as $$
    begin
      if current_setting('statement_timeout')::interval > '15s' then raise exception 'it has too much time'; end if;
      return old;
    end $$;
    grant execute on function app.refuse_long() to public;
    create trigger refuse_long before delete on app.domains for each row execute function app.refuse_long()`)
  try {
    assert.equal(outcome(await client.delete(`/v1/domains/${name}${dry}`)), '204')
    assert.equal(outcome(await client.delete(`/v1/domains/${name}`)), '500 internal-error')
  } finally {
    await admin.query('drop function app.refuse_long cascade')
  }
})
