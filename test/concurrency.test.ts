import assert from 'node:assert/strict'
import { argon2Sync } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { afterEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { argon2idParameters } from '../src/accounts/verifiers.ts'
import { type Client, outcome, type Reply } from './support/client.ts'
import { assertInvariants } from './support/invariants.ts'
import { assertOutcomes, link, startRaces, tally, until } from './support/races.ts'

const races = await startRaces()
const { service, here, there, race, newName, newDomain, newAccounts, newMailbox, count } = races
const { holding, untilWaiting } = races
const { admin } = service

afterEach(() => assertInvariants(admin))

async function assertMadeOnce(name: string, verifiers: string[]): Promise<void> {
  for (const table of ['addresses', 'mailboxes', 'accounts'])
    assert.equal(await count(table, 'name = $1', name), 1, table)
  const { rows } = await admin.query('select mechanism from app.verifiers where name = $1 order by 1', [name])
  assert.deepEqual(
    rows.map((row) => row.mechanism),
    verifiers,
  )
}

test('of 200 creates of one name in two domains exactly one wins', async () => {
  const domains = [await newDomain(), await newDomain()]
  const name = newName()
  const replies = await race(200, (client, i) =>
    client.post('/v1/mailboxes', { address: `${name}@${domains[(i >> 1) % 2]}`, generate_password: true }),
  )
  const counts = assertOutcomes(replies, '201', '409 mailbox-exists', '409 name-taken')
  assert.equal(counts['201'], 1)
  await assertMadeOnce(name, ['ARGON2ID', 'SCRAM-SHA-256'])
})

test('of 200 requests for a mailbox on one account exactly one wins', async () => {
  const domains = [await newDomain(), await newDomain()]
  const [name] = await newAccounts(1)
  const replies = await race(200, (client, i) => link(client, `${name}@${domains[(i >> 1) % 2]}`))
  const counts = assertOutcomes(replies, '201', '409 mailbox-exists', '409 name-taken')
  assert.equal(counts['201'], 1)
  await assertMadeOnce(name!, [])
})

test('of 200 PUTs of one name in two domains one creates and the others find it', async () => {
  const domains = [await newDomain(), await newDomain()]
  const name = newName()
  const replies = await race(200, (client, i) =>
    client.put(`/v1/mailboxes/${name}@${domains[(i >> 1) % 2]}`, {
      password: 'the same for everybody',
      account: { display_name: 'Hanako' },
    }),
  )
  const counts = assertOutcomes(replies, '201', '200', '409 name-taken')
  assert.equal(counts['201'], 1)
  const applied = replies.filter(({ body }) => body.password_applied === true)
  assert.deepEqual(applied.map(outcome), ['201'])
  await assertMadeOnce(name, ['ARGON2ID', 'SCRAM-SHA-256'])
})

test('PUTs that link one account and set other values of it never fail', async () => {
  const domain = await newDomain()
  const [name] = await newAccounts(1)
  const replies = await race(40, (client, i) =>
    client.put(`/v1/mailboxes/${name}@${domain}`, {
      create_account: false,
      quota_bytes: i % 3,
      account: { external_id: String(i) },
    }),
  )
  assert.equal(assertOutcomes(replies, '201', '200')['201'], 1)
})

test('an account and a mailbox of one name made at once are one or the other', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 10; round++) {
    const name = newName()
    const replies = await race(8, (client, i) =>
      i % 4 < 2
        ? client.post('/v1/accounts', { name, generate_password: true })
        : client.post('/v1/mailboxes', { address: `${name}@${domain}`, generate_password: true }),
    )
    const counts = assertOutcomes(replies, '201', '409 account-exists', '409 mailbox-exists')
    assert.equal(counts['201'], 1)
    assert.equal(await count('accounts', 'name = $1', name), 1)
    assert.equal(await count('verifiers', 'name = $1', name), 2)
  }
})

for (const [what, query] of [
  ['kept until its purge', ''],
  ['purged', '&purge=true'],
] as const) {
  test(`nothing lives in a domain that was deleted (${what}) while mailboxes were made in it`, async () => {
    for (let round = 0; round < 5; round++) {
      const domain = await newDomain()
      const names = await newAccounts(40)
      const deletion = deleteWhateverIsThere(domain, query)
      const creates = await race(40, (client, i) => link(client, `${names[i]}@${domain}`))
      await deletion
      assertOutcomes(creates, '201', '422 unknown-domain')
      const made = names.filter((_, i) => creates[i]?.status === 201)
      const deleted = await count('mailboxes', `name = any($1) and state = 'deleted'`, made)
      assert.equal(deleted, query === '' ? made.length : 0)
      assert.equal(await count('mailboxes', 'domain = $1', domain), deleted)
      assert.equal(outcome(await here.get(`/v1/domains/${domain}`)), '404 domain-not-found')
    }
  })
}

/** As an operator does it: look how many there are, and say so, until it is true. */
async function deleteWhateverIsThere(domain: string, query: string): Promise<void> {
  await until(async () => {
    const { body } = await there.get(`/v1/domains/${domain}`)
    if (body.mailbox_count < 3) return false // so that creates run on both sides of it
    const path = `/v1/domains/${domain}?mailboxes=delete&expect=${body.mailbox_count}${query}`
    const outcomes = assertOutcomes([await there.delete(path)], '204', '409 count-mismatch')
    return outcomes['204'] === 1
  })
}

test('a limit of five lets five in, whoever comes', async () => {
  const domain = await newDomain({ mailbox_limit: 5 })
  const names = await newAccounts(36)
  const replies = await race(40, (client, i) =>
    i < 36
      ? link(client, `${names[i]}@${domain}`)
      : client.post('/v1/mailboxes', { address: `${newName()}@${domain}`, generate_password: true }),
  )
  const counts = assertOutcomes(replies, '201', '409 mailbox-limit-reached')
  assert.equal(counts['201'], 5)
  assert.equal(await count('mailboxes', 'domain = $1', domain), 5)
})

test('a limit that is set while mailboxes are made holds from then on', async () => {
  for (let round = 0; round < 5; round++) {
    const domain = await newDomain()
    const names = await newAccounts(60)
    const creates = race(60, (client, i) => link(client, `${names[i]}@${domain}`))
    const patched = await there.patch(`/v1/domains/${domain}`, { mailbox_limit: 5 })
    assertOutcomes([...(await creates), patched], '200', '201', '409 mailbox-limit-reached')
    // what the answer counted is what was in when the limit came
    const expected = Math.max(5, patched.body.mailbox_count)
    assert.equal(await count('mailboxes', 'domain = $1', domain), expected)
  }
})

test('a purge and creates of the same name leave it whole or absent', async () => {
  const domains = [await newDomain(), await newDomain()]
  const name = newName()
  const address = `${name}@${domains[0]}`
  for (let round = 0; round < 30; round++) {
    const replies = await race(6, (client, i) => {
      if (i % 3 === 0) return client.delete(`/v1/mailboxes/${address}?purge=true&account=delete`)
      return client.post('/v1/mailboxes', { address: `${name}@${domains[i % 2]}`, generate_password: true })
    })
    assertOutcomes(
      replies,
      ...['201', '204', '404 mailbox-not-found', '409 mailbox-exists', '409 name-taken'],
    )
    await assertInvariants(admin)
    assert.equal(await count('accounts', 'name = $1', name), await count('mailboxes', 'name = $1', name))
    for (const domain of domains)
      await here.delete(`/v1/mailboxes/${name}@${domain}?purge=true&account=delete`)
  }
})

test('the last two mailboxes of a deleted domain, purged at once, take it along', async () => {
  for (let round = 0; round < 20; round++) {
    const domain = await newDomain()
    const addresses = [await newMailbox(domain), await newMailbox(domain)]
    await here.delete(`/v1/domains/${domain}?mailboxes=delete&expect=2`)
    const replies = await race(2, (client, i) => client.delete(`/v1/mailboxes/${addresses[i]}?purge=true`))
    assertOutcomes(replies, '204')
    assert.equal(await count('domains', 'name = $1', domain), 0)
  }
})

test('the last mailbox of a domain, purged while the domain is deleted, takes it along', async () => {
  for (let round = 0; round < 40; round++) {
    const domain = await newDomain()
    const address = await newMailbox(domain)
    const replies = await race(2, (client, i) =>
      i === round % 2
        ? client.delete(`/v1/mailboxes/${address}?purge=true`)
        : client.delete(`/v1/domains/${domain}?mailboxes=delete&expect=1`),
    )
    assertOutcomes(replies, '204', '409 count-mismatch')
    if (replies.some(({ status }) => status === 409)) await here.delete(`/v1/domains/${domain}`)
    assert.equal(await count('domains', 'name = $1', domain), 0)
  }
})

const purges = [
  ['mailbox', (address: string) => `/v1/mailboxes/${address}?purge=true`],
  [
    'domain',
    (address: string) => `/v1/domains/${address.split('@')[1]}?mailboxes=delete&expect=1&purge=true`,
  ],
] as const

for (const [what, purge] of purges) {
  test(`a mailbox deleted with its account while its ${what} is purged leaves no account behind`, async () => {
    for (let round = 0; round < 30; round++) {
      const address = await newMailbox(await newDomain())
      const replies = await race(2, (client, i) =>
        client.delete(i === round % 2 ? purge(address) : `/v1/mailboxes/${address}?account=delete`),
      )
      assertOutcomes(replies, '204', '404 mailbox-not-found', '409 count-mismatch')
      await assertInvariants(admin)
    }
  })
}

for (const [what, purge] of purges) {
  test(`nor where the purge of the ${what} waits for that deletion`, async () => {
    const address = await newMailbox(await newDomain())
    const name = address.split('@')[0]!
    const replies = await holding('accounts', name, async () => {
      const deleted = here.delete(`/v1/mailboxes/${address}?account=delete`)
      await untilWaiting(1) // it has the mailbox and needs the account
      const purged = there.delete(purge(address))
      await untilWaiting(2)
      return [deleted, purged]
    })
    assertOutcomes(replies, '204')
    assert.equal(await count('accounts', 'name = $1', name), 0)
  })
}

test('an account is deleted or gets a mailbox, never both', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 40; round++) {
    const [name] = await newAccounts(1)
    const body = { address: `${name}@${domain}`, create_account: false }
    const person = round % 4 < 2 ? {} : { account: { display_name: 'Hanako' } }
    const [linked, deleted] = await Promise.all([
      here.post('/v1/mailboxes', { ...body, ...person }),
      there.delete(`/v1/accounts/${name}`),
    ])
    const both = `${outcome(linked)}, ${outcome(deleted)}`
    assert.ok(['201, 409 account-has-mailbox', '422 unknown-account, 204'].includes(both), both)
    assert.equal(await count('accounts', 'name = $1', name), linked.status === 201 ? 1 : 0)
  }
})

test('PUT and DELETE of one mailbox do not wait for each other for ever', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 20; round++) {
    const address = await newMailbox(domain)
    const replies = await race(8, (client, i) =>
      i < 6
        ? client.put(`/v1/mailboxes/${address}`, {
            create_account: false,
            quota_bytes: 1000 * round + i,
            account: { external_id: `${round}/${i}` },
          })
        : client.delete(`/v1/mailboxes/${address}?account=delete`),
    )
    assertOutcomes(
      replies,
      '200',
      '204',
      '404 mailbox-not-found',
      '404 account-not-found',
      '409 mailbox-deleted',
    )
  }
})

const edits = [
  ['domain', async () => `/v1/domains/${await newDomain()}`, { locked: true }, { mailbox_limit: 7 }],
  [
    'mailbox',
    async () => `/v1/mailboxes/${await newMailbox(await newDomain())}`,
    { locked: true },
    { quota_bytes: 7 },
  ],
  [
    'account',
    async () => `/v1/accounts/${(await newAccounts(1))[0]}`,
    { display_name: 'Hanako' },
    { external_id: '7' },
  ],
  [
    'server',
    async () => {
      await here.patch('/v1/server', { pop3s_port: null, imaps_port: null })
      return '/v1/server'
    },
    { pop3s_port: 2995 },
    { imaps_port: 2993 },
  ],
] as const

for (const [what, make, one, other] of edits) {
  test(`of two edits of one version of a ${what} one is refused`, async () => {
    for (let round = 0; round < 10; round++) {
      const path = await make()
      const { etag } = await here.get(path)
      const options = { headers: { 'if-match': etag } }
      const replies = await race(2, (client, i) => client.patch(path, i === 0 ? one : other, options))
      assert.deepEqual(tally(replies), { 200: 1, '412 precondition-failed': 1 })
      const winner = replies.find(({ status }) => status === 200)
      assert.equal((await here.get(path)).etag, winner?.etag)
    }
  })

  test(`edits of different members of a ${what} both survive`, async () => {
    for (let round = 0; round < 10; round++) {
      const path = await make()
      const replies = await race(2, (client, i) => client.patch(path, i === 0 ? one : other))
      assert.deepEqual(tally(replies), { 200: 2 })
      const { body } = await here.get(path)
      for (const [member, value] of Object.entries({ ...one, ...other })) assert.equal(body[member], value)
    }
  })
}

test('a new password never lands on an account that was made anew under the same name', async () => {
  const domain = await newDomain()
  const address = `${newName()}@${domain}`
  const name = address.split('@')[0]!
  await here.post('/v1/mailboxes', { address, password: 'the first password' })
  const release = await holdEveryTurn()
  const change = here.put(`/v1/accounts/${name}/password`, { password: 'meant for the first' })
  await until(() => service.derivations.waiting > 0)
  assert.equal((await there.delete(`/v1/mailboxes/${address}?purge=true&account=delete`)).status, 204)
  assert.equal((await there.post('/v1/mailboxes', { address, password: 'of the second one' })).status, 201)
  release()
  assert.equal(outcome(await change), '404 account-not-found')
  assert.ok(await isPassword(name, 'of the second one'))
})

test('nor where no turn had to be waited for', async () => {
  const domain = await newDomain()
  for (let round = 0; round < 10; round++) {
    const address = `${newName()}@${domain}`
    const name = address.split('@')[0]!
    await here.post('/v1/mailboxes', { address, password: 'the first password' })
    const etag = (await here.get(`/v1/accounts/${name}`)).etag
    const [changed] = await Promise.all([
      here.put(
        `/v1/accounts/${name}/password`,
        { password: 'meant for the first' },
        { headers: { 'if-match': etag } },
      ),
      (async () => {
        await there.delete(`/v1/mailboxes/${address}?purge=true&account=delete`)
        await there.post('/v1/mailboxes', { address, password: 'of the second one' })
      })(),
    ])
    assertOutcomes([changed], '204', '404 account-not-found', '412 precondition-failed')
    assert.ok(await isPassword(name, 'of the second one'))
  }
})

/** Nothing is hashed by the first instance until the returned function is called. */
async function holdEveryTurn(): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  for (let turn = 0; turn < availableParallelism(); turn++) void service.derivations.run(() => promise)
  return resolve
}

async function isPassword(name: string, password: string): Promise<boolean> {
  const { rows } = await admin.query(
    `select verifier from app.verifiers where name = $1 and mechanism = 'ARGON2ID'`,
    [name],
  )
  const [, , , , salt, tag] = rows[0].verifier.split('$')
  const derived = argon2Sync('argon2id', {
    message: password,
    nonce: Buffer.from(salt, 'base64'),
    ...argon2idParameters,
    tagLength: 32,
  })
  return derived.equals(Buffer.from(tag, 'base64'))
}

const both = ['SCRAM-SHA-256', 'CRAM-MD5']
const onlyScram = { secure_password_mechanisms: ['SCRAM-SHA-256'] }

for (const [where, make] of [
  ['domain', async () => `/v1/domains/${await newDomain({ secure_password_mechanisms: both })}`],
  ['server', async () => '/v1/server'],
] as const) {
  test(`passwords set while a mechanism is taken off the list of the ${where} keep none of it`, async () => {
    for (let round = 0; round < 8; round++) {
      const path = await make()
      assert.equal((await here.patch(path, { secure_password_mechanisms: both })).status, 200)
      const domain = where === 'domain' ? path.split('/')[3]! : await newDomain()
      const addresses = [await newMailbox(domain), await newMailbox(domain), await newMailbox(domain)]
      const writes = race(12, (client, i) => {
        if (i < 6) return setPassword(client, addresses[i % 3]!.split('@')[0]!)
        if (i < 9 || where === 'domain') return createWithPassword(client, `${newName()}@${domain}`)
        return client.post('/v1/accounts', { name: newName(), generate_password: true })
      })
      await sleep(10 * round) // so that it comes before, among and after the writes
      assert.equal((await there.patch(path, onlyScram)).status, 200)
      assertOutcomes(await writes, '201', '204')
      await assertInvariants(admin)
      const inDomain = 'name in (select name from app.mailboxes where domain = $1)'
      const kept = where === 'domain' ? inDomain : '$1::text is not null'
      assert.equal(await count('verifiers', `mechanism = 'CRAM-MD5' and ${kept}`, domain), 0)
    }
  })
}

function setPassword(client: Client, name: string): Promise<Reply> {
  return client.put(`/v1/accounts/${name}/password`, { password: 'a password of somebody' })
}

function createWithPassword(client: Client, address: string): Promise<Reply> {
  return client.post('/v1/mailboxes', { address, generate_password: true })
}

test('a mailbox that is just being made when a mechanism is taken off the list gets none of it', async () => {
  const domain = await newDomain()
  await here.patch('/v1/server', { secure_password_mechanisms: both })
  const address = `${newName()}@${domain}`
  const replies = await holding('domains', domain, async () => {
    const created = createWithPassword(here, address)
    await untilWaiting(1) // it has read the old list
    const patched = there.patch('/v1/server', onlyScram)
    await untilWaiting(2)
    return [created, patched]
  })
  assert.deepEqual(replies.map(outcome), ['201', '200'])
  await assertMadeOnce(address.split('@')[0]!, ['ARGON2ID', 'SCRAM-SHA-256'])
})
