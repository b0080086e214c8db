import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

const outside = 'anna@elsewhere.example'

before(async () => {
  await admin.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['example.jp', 'own.jp', 'foreign.jp', 'gone.jp'])
    await admin.post('/v1/domains', { name })
  for (const address of ['boss@own.jp', 'chief@foreign.jp'])
    await admin.post('/v1/mailboxes', { address, generate_password: true })
})

let people = 0
async function newMailbox(values: object = {}, domain = 'own.jp') {
  const address = `person${++people}@${domain}`
  const made = await admin.post('/v1/mailboxes', { address, generate_password: true, ...values })
  assert.equal(outcome(made), '201')
  return { address, path: `/v1/mailboxes/${address}`, made: made.body, etag: made.etag }
}

const defaults = { forward_to: [], keep_copy: true, delivery: 'accept', hold: false }
const told = { forward_to: ['boss@own.jp', outside], keep_copy: false, delivery: 'refuse', hold: true }
const valuesOf = (body: Record<string, unknown>) =>
  Object.fromEntries(Object.keys(defaults).map((name) => [name, body[name]]))

describe('what a mailbox does with its mail', () => {
  test('is by default to take it and keep it', async () => {
    const { path, made } = await newMailbox()
    assert.deepEqual(valuesOf(made), defaults)
    assert.deepEqual(valuesOf((await admin.get(path)).body), defaults)
  })

  test('is said at the creation, by POST and by PUT', async () => {
    const { path, made } = await newMailbox(told)
    assert.deepEqual(valuesOf(made), told)
    assert.deepEqual(valuesOf((await admin.get(path)).body), told)
    const put = await admin.put('/v1/mailboxes/ensured@own.jp', { generate_password: true, ...told })
    assert.equal(outcome(put), '201')
    assert.deepEqual(valuesOf(put.body), told)
  })

  test('is changed by PATCH and by PUT, which leave alone what is not sent', async () => {
    for (const method of ['patch', 'put'] as const) {
      const { path, etag } = await newMailbox()
      const changed = await admin[method](path, told)
      assert.equal(outcome(changed), '200')
      assert.deepEqual(valuesOf(changed.body), told)
      assert.notEqual(changed.etag, etag)
      assert.equal((await admin[method](path, told)).etag, changed.etag, 'the same again changes nothing')
      assert.equal((await admin[method](path, {})).etag, changed.etag)
      assert.deepEqual(valuesOf((await admin[method](path, { delivery: 'accept' })).body), {
        ...told,
        delivery: 'accept',
      })
      assert.deepEqual(valuesOf((await admin.patch(path, { forward_to: null })).body).forward_to, [])
    }
  })

  test('stays over a deletion and a restore', async () => {
    const { path } = await newMailbox(told)
    await admin.delete(path)
    assert.deepEqual(valuesOf((await admin.post(`${path}/restore`)).body), told)
  })

  test('two changes of different members at once are both kept', async () => {
    const { path } = await newMailbox()
    await Promise.all([admin.patch(path, { keep_copy: false }), admin.patch(path, { forward_to: [outside] })])
    assert.deepEqual(valuesOf((await admin.get(path)).body), {
      ...defaults,
      keep_copy: false,
      forward_to: [outside],
    })
  })

  test('has its addresses in the form in which they are compared, each once', async () => {
    const { made } = await newMailbox({
      forward_to: ['Boss@OWN.jp.', 'boss@own.jp', 'boss+leaver@own.jp', 'x@bücher.example'],
    })
    assert.deepEqual(made.forward_to, ['boss@own.jp', 'boss+leaver@own.jp', 'x@xn--bcher-kva.example'])
  })

  const refused: [what: string, values: object, refusal: string, pointer: string | undefined][] = [
    ['no address', { forward_to: [outside, 'boss'] }, '422 invalid-address', '/forward_to/1'],
    ['two in one', { forward_to: ['a@own.jp, b@own.jp'] }, '422 invalid-address', '/forward_to/0'],
    ['a command', { forward_to: ['|/bin/sh@own.jp'] }, '422 invalid-address', '/forward_to/0'],
    [
      'eleven addresses',
      { forward_to: Array.from({ length: 11 }, (_, i) => `a${i}@own.jp`) },
      '400 invalid-request',
      '/forward_to',
    ],
    ['an address that is no list', { forward_to: outside }, '400 invalid-request', '/forward_to'],
    ['another word', { delivery: 'drop' }, '400 invalid-request', '/delivery'],
    ['null for a copy', { keep_copy: null }, '400 invalid-request', '/keep_copy'],
    ['a hold that is a text', { hold: 'yes' }, '400 invalid-request', '/hold'],
  ]
  for (const [what, values, refusal, pointer] of refused)
    test(`is refused: ${what}`, async () => {
      const { path, etag } = await newMailbox()
      const address = 'never@own.jp'
      for (const answer of [
        await admin.patch(path, values),
        await admin.put(path, values),
        await admin.post('/v1/mailboxes', { address, generate_password: true, ...values }),
      ]) {
        assert.equal(outcome(answer), refusal)
        assert.equal(answer.body.errors[0].pointer, pointer)
      }
      assert.equal((await admin.get(path)).etag, etag)
      assert.equal((await admin.get(`/v1/mailboxes/${address}`)).status, 404)
    })

  test('the table itself holds the rules', async () => {
    const { made } = await newMailbox()
    for (const [set, constraint] of [
      [`forward_to = array_fill('a@b.jp'::text, array[11])`, 'forward_to_check'],
      [`forward_to = '{null}'`, 'forward_to_check'],
      [`delivery = 'drop'`, 'delivery_check'],
    ])
      await assert.rejects(service.admin.query(`update app.mailboxes set ${set} where id = $1`, [made.id]), {
        constraint,
      })
  })
})

describe('to send mail on', () => {
  const scopes = ['mailboxes:write'] as const
  const forwarding = ['mailboxes:write', 'forwarding:write'] as const

  test('within the domains here takes no scope of its own, and outside forwarding:write', async () => {
    const writer = await service.as({ scopes })
    const { path } = await newMailbox()
    for (const send of [writer.patch, writer.put]) {
      assert.equal(outcome(await send(path, { forward_to: ['chief@foreign.jp'] })), '200')
      assert.equal(
        outcome(await send(path, { forward_to: ['boss@own.jp', outside] })),
        '403 insufficient-scope',
      )
    }
    const body = { address: 'never2@own.jp', generate_password: true, forward_to: [outside] }
    assert.equal(outcome(await writer.post('/v1/mailboxes', body)), '403 insufficient-scope')
    assert.equal((await admin.get('/v1/mailboxes/never2@own.jp')).status, 404)
    assert.deepEqual((await admin.get(path)).body.forward_to, ['chief@foreign.jp'])
    const forwarder = await service.as({ scopes: forwarding })
    assert.equal(outcome(await forwarder.patch(path, { forward_to: [outside] })), '200')
    assert.equal(outcome(await writer.patch(path, { forward_to: [] })), '200', 'to end it takes no scope')
  })

  test('outside is possible to the domains that the server allows only', async () => {
    const { path } = await newMailbox()
    await admin.patch('/v1/server', { forward_allowed_domains: ['partner.example'] })
    const refused = await admin.patch(path, { forward_to: ['boss@own.jp', outside] })
    assert.equal(outcome(refused), '422 forwarding-refused')
    assert.equal(refused.body.errors[0].pointer, '/forward_to/1')
    assert.equal(outcome(await admin.put(path, { forward_to: [outside] })), '422 forwarding-refused')
    const body = { address: 'never3@own.jp', generate_password: true, forward_to: [outside] }
    assert.equal(outcome(await admin.post('/v1/mailboxes', body)), '422 forwarding-refused')
    assert.equal(
      outcome(await admin.patch(path, { forward_to: ['x@partner.example', 'boss@own.jp'] })),
      '200',
    )
    await admin.patch('/v1/server', { forward_allowed_domains: null })
    assert.equal(outcome(await admin.patch(path, { forward_to: [outside] })), '200')
  })

  test('takes addresses of the caller’s domains only that are there', async () => {
    const { path } = await newMailbox()
    for (const target of ['nobody@own.jp', 'nobody+x@own.jp', 'person0@gone.jp']) {
      const refused = await admin.patch(path, { forward_to: ['boss@own.jp', target] })
      assert.equal(outcome(refused), '422 unknown-target', target)
      assert.equal(refused.body.errors[0].pointer, '/forward_to/1')
      assert.equal(outcome(await admin.put(path, { forward_to: [target] })), '422 unknown-target')
      const body = { address: 'never4@own.jp', generate_password: true, forward_to: [target] }
      assert.equal(outcome(await admin.post('/v1/mailboxes', body)), '422 unknown-target')
    }
    assert.equal(outcome(await admin.patch(path, { forward_to: ['boss+leaver@own.jp'] })), '200')
  })

  test('judges what is added and not what is there, so that the same again and less need no right', async () => {
    const { address: leaving } = await newMailbox()
    const { path } = await newMailbox({ forward_to: [outside, leaving, 'boss@own.jp'] })
    await admin.delete(`/v1/mailboxes/${leaving}`)
    const writer = await service.as({ scopes })
    for (const send of [writer.patch, writer.put]) {
      assert.equal(outcome(await send(path, { forward_to: [outside, leaving, 'boss@own.jp'] })), '200')
      assert.equal(outcome(await send(path, { forward_to: [outside, leaving] })), '200')
      assert.equal(outcome(await send(path, { forward_to: [outside, leaving, 'boss@own.jp'] })), '200')
      const more = await send(path, { forward_to: [leaving, outside, 'other@elsewhere.example'] })
      assert.equal(outcome(more), '403 insufficient-scope')
    }
    assert.equal(outcome(await writer.patch(path, { forward_to: [leaving] })), '200')
    assert.equal(
      outcome(await writer.patch(path, { forward_to: [leaving, outside] })),
      '403 insufficient-scope',
    )
  })

  test('two that add at once are judged one after the other', async () => {
    const { path } = await newMailbox({ forward_to: [outside] })
    const writer = await service.as({ scopes })
    const [removed, kept] = await Promise.all([
      admin.patch(path, { forward_to: [] }),
      writer.patch(path, { forward_to: [outside, 'boss@own.jp'] }),
    ])
    assert.equal(outcome(removed), '200')
    const { forward_to } = (await admin.get(path)).body
    if (outcome(kept) === '200') assert.deepEqual(forward_to, [])
    else assert.deepEqual([outcome(kept), forward_to], ['403 insufficient-scope', []])
  })

  test('a limited caller is told nothing of other domains: they are all outside', async () => {
    await newMailbox({}, 'foreign.jp')
    const { path } = await newMailbox()
    const targets = ['chief@foreign.jp', 'nobody@foreign.jp', 'nobody@nothing.jp']
    const limited = await service.as({ scopes, domains: ['own.jp'] })
    const forwarder = await service.as({ scopes: forwarding, domains: ['own.jp'] })
    for (const target of targets) {
      assert.equal(outcome(await limited.patch(path, { forward_to: [target] })), '403 insufficient-scope')
      assert.equal(outcome(await forwarder.patch(path, { forward_to: [target] })), '200')
    }
    assert.equal(outcome(await limited.patch(path, { forward_to: ['boss@own.jp'] })), '200')
    await admin.patch('/v1/server', { forward_allowed_domains: ['partner.example'] })
    for (const target of targets)
      assert.equal(outcome(await forwarder.patch(path, { forward_to: [target] })), '422 forwarding-refused')
    await admin.patch('/v1/server', { forward_allowed_domains: null })
  })
})
