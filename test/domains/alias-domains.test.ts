import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { assertOutcomes, startRaces } from '../support/races.ts'

const { service, here: admin, race, newDomain, newMailbox, count } = await startRaces()

async function set(name: string, alias_of: unknown) {
  return outcome(await admin.patch(`/v1/domains/${name}`, { alias_of }))
}

before(async () => {
  for (const name of ['main.jp', 'other.jp', 'full.jp']) await admin.post('/v1/domains', { name })
  await newMailbox('full.jp')
})

describe('alias_of', () => {
  test('is set when a domain is made, changed and taken back', async () => {
    const made = await admin.post('/v1/domains', { name: 'brand.jp', alias_of: 'MAIN.jp.' })
    assert.deepEqual([outcome(made), made.body.alias_of], ['201', 'main.jp'])
    assert.equal(await set('brand.jp', 'main.jp'), '200')
    assert.equal((await admin.get('/v1/domains/brand.jp')).etag, made.etag, 'which changes nothing')
    assert.equal(await set('brand.jp', 'other.jp'), '200')
    assert.equal((await admin.get('/v1/domains/brand.jp')).body.alias_of, 'other.jp')
    assert.equal(await set('brand.jp', null), '200')
    const mailbox = await admin.post('/v1/mailboxes', { address: 'own@brand.jp', generate_password: true })
    assert.equal(outcome(mailbox), '201')
    assert.equal(await set('brand.jp', 'main.jp'), '409 domain-has-addresses')
  })

  test('is done once under an idempotency key', async () => {
    const once = { headers: { 'idempotency-key': 'alias-domain' } }
    const body = { name: 'once.jp', alias_of: 'main.jp' }
    const [first, again] = [
      await admin.post('/v1/domains', body, once),
      await admin.post('/v1/domains', body, once),
    ]
    assert.deepEqual([outcome(first), outcome(again)], ['201', '201'])
    assert.deepEqual(again.body, first.body)
    assert.equal(outcome(await admin.post('/v1/domains', body)), '409 domain-exists')
  })

  const refusals: [value: unknown, expected: string][] = [
    ['nothing.jp', '422 unknown-domain'],
    ['a_b.jp', '422 invalid-domain-name'],
    ['alias.jp', '422 alias-domain'],
    ['', '422 invalid-domain-name'],
    [true, '400 invalid-request'],
  ]
  for (const [value, expected] of refusals) {
    test(`refuses ${JSON.stringify(value)} with ${expected}`, async () => {
      await admin.post('/v1/domains', { name: 'alias.jp', alias_of: 'main.jp' })
      const body = { name: 'refused.jp', alias_of: value }
      const refused = await admin.post('/v1/domains', body)
      assert.equal(outcome(refused), expected)
      assert.equal(refused.body.errors[0].pointer, '/alias_of')
      assert.equal(outcome(await admin.get('/v1/domains/refused.jp')), '404 domain-not-found')
      assert.equal(await set('other.jp', value), expected)
    })
  }

  test('is never the domain itself, and no domain that others are aliases of becomes one', async () => {
    assert.equal(await set('other.jp', 'other.jp'), '422 alias-domain')
    assert.equal(await set('full.jp', 'main.jp'), '409 domain-has-addresses')
    await admin.post('/v1/domains', { name: 'second.jp', alias_of: 'other.jp' })
    assert.equal(await set('other.jp', 'main.jp'), '409 domain-has-alias-domains')
    await admin.delete('/v1/domains/second.jp')
    await admin.post('/v1/aliases', { address: 'only@other.jp', targets: ['x@partner.example'] })
    assert.equal(await set('other.jp', 'main.jp'), '409 domain-has-addresses')
    await admin.delete('/v1/aliases/only@other.jp')
    assert.equal(await set('other.jp', 'main.jp'), '200')
    assert.equal(await set('other.jp', null), '200')
  })

  test('makes no loop, and no way that is too long, out of targets that led outside before', async () => {
    const chain = ['e', 'd', 'c', 'b', 'a'].map((name) => `${name}@main.jp`)
    await admin.post('/v1/aliases', {
      address: 'loop@main.jp',
      targets: ['loop@new.jp', 'x@partner.example'],
    })
    const loop = await admin.post('/v1/domains', { name: 'new.jp', alias_of: 'main.jp' })
    assert.equal(outcome(loop), '409 alias-loop')
    await admin.post('/v1/domains', { name: 'new.jp' })
    assert.equal(await set('new.jp', 'main.jp'), '409 alias-loop')
    await admin.delete('/v1/aliases/loop@main.jp')
    for (const [i, address] of chain.entries()) {
      const targets = [i === 0 ? 'x@partner.example' : chain[i - 1]]
      assert.equal(outcome(await admin.post('/v1/aliases', { address, targets })), '201')
    }
    await admin.delete('/v1/domains/new.jp')
    await admin.post('/v1/aliases', { address: 'start@main.jp', targets: ['a@new.jp'] })
    const long = await admin.post('/v1/domains', { name: 'new.jp', alias_of: 'main.jp' })
    assert.equal(outcome(long), '409 alias-limit-reached')
    await admin.post('/v1/domains', { name: 'new.jp' })
    assert.equal(await set('new.jp', 'main.jp'), '409 alias-limit-reached')
  })

  test('takes no mailbox, however it is made', async () => {
    await admin.post('/v1/domains', { name: 'empty.jp', alias_of: 'main.jp' })
    const body = { generate_password: true }
    const refused = await admin.post('/v1/mailboxes', { address: 'u1@empty.jp', ...body })
    assert.equal(outcome(refused), '422 alias-domain')
    assert.equal(refused.body.errors[0].pointer, '/address')
    assert.equal(outcome(await admin.put('/v1/mailboxes/u1@empty.jp', body)), '422 alias-domain')
    const limit = { name: 'empty2.jp', alias_of: 'main.jp', mailbox_limit: 5 }
    await admin.post('/v1/domains', limit)
    const limited = await admin.post('/v1/mailboxes', { address: 'u1@empty2.jp', ...body })
    assert.equal(outcome(limited), '422 alias-domain')
  })

  test('keeps the other domain from being deleted', async () => {
    const main = await newDomain()
    await admin.post('/v1/domains', { name: `brand.${main}`, alias_of: main })
    for (const query of ['', '?purge=true&mailboxes=delete&expect=0'])
      assert.equal(outcome(await admin.delete(`/v1/domains/${main}${query}`)), '409 domain-has-alias-domains')
    assert.equal(outcome(await admin.delete(`/v1/domains/brand.${main}`)), '204')
    assert.equal(outcome(await admin.delete(`/v1/domains/${main}`)), '204')
  })

  test('is for callers with all domains, and shown where both domains are', async () => {
    await admin.post('/v1/domains', { name: 'shown.jp', alias_of: 'main.jp' })
    const one = await service.as({ domains: ['shown.jp'] })
    const both = await service.as({ domains: ['shown.jp', 'main.jp'] })
    for (const body of [{ alias_of: 'main.jp' }, { alias_of: null }, { accepts_mail: false }]) {
      for (const client of [one, both])
        assert.equal(outcome(await client.patch('/v1/domains/shown.jp', body)), '403 insufficient-scope')
    }
    const seen = async (client: typeof one) => [
      (await client.get('/v1/domains/shown.jp')).body.alias_of,
      (await client.get('/v1/domains?prefix=shown')).body.items[0].alias_of,
      (await client.patch('/v1/domains/shown.jp', { locked: false })).body.alias_of,
    ]
    assert.deepEqual(await seen(one), [null, null, null])
    assert.deepEqual(await seen(both), ['main.jp', 'main.jp', 'main.jp'])
  })
})

describe('races', () => {
  test('a domain becomes an alias or gets an address, never both', async () => {
    for (let round = 0; round < 8; round++) {
      const [main, brand] = [await newDomain(), await newDomain()]
      const replies = await race(4, (client, i) => {
        if (i < 2) return client.patch(`/v1/domains/${brand}`, { alias_of: main })
        const address = `x${i}@${brand}`
        return i === 2
          ? client.post('/v1/aliases', { address, targets: ['x@partner.example'] })
          : client.post('/v1/mailboxes', {
              address: `${brand.split('.')[0]}@${brand}`,
              generate_password: true,
            })
      })
      assertOutcomes(replies, '200', '201', '409 domain-has-addresses', '422 alias-domain')
      const aliases = await count('domains', 'name = $1 and alias_of is not null', brand)
      const addresses = await count('addresses', 'domain = $1', brand)
      assert.ok((aliases === 1) !== addresses > 0, `${aliases} ${addresses}`)
    }
  })

  test('no chain comes of two domains that become aliases at once', async () => {
    for (let round = 0; round < 8; round++) {
      const [a, b, c] = [await newDomain(), await newDomain(), await newDomain()]
      const ring = [a, b, c]
      const replies = await race(6, (client, i) =>
        client.patch(`/v1/domains/${ring[i % 3]}`, { alias_of: ring[(i + 1) % 3] }),
      )
      assertOutcomes(replies, '200', '422 alias-domain', '409 domain-has-alias-domains')
      const chains = await count(
        'domains as d',
        'd.alias_of in (select name from app.domains where alias_of is not null)',
      )
      assert.equal(chains, 0)
    }
  })

  test('the other domain is deleted or has an alias, never both', async () => {
    for (let round = 0; round < 8; round++) {
      const [main, brand] = [await newDomain(), await newDomain()]
      const replies = await race(2, (client, i) =>
        i === round % 2
          ? client.delete(`/v1/domains/${main}`)
          : client.patch(`/v1/domains/${brand}`, { alias_of: main }),
      )
      const [deletion, setting] = round % 2 === 0 ? replies : replies.toReversed()
      const both = [outcome(deletion!), outcome(setting!)].join(', ')
      assert.match(both, /^(204, 422 unknown-domain|409 domain-has-alias-domains, 200)$/)
    }
  })
})
