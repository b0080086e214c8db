import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Client, outcome } from './support/client.ts'
import { startService } from './support/service.ts'

const service = await startService()
const admin = await service.as()
await admin.post('/v1/domains', { name: 'a.jp' })
await admin.post('/v1/accounts', { name: 'body', generate_password: true })

type Method = 'post' | 'put' | 'patch'
const send = (method: Method, path: string, raw: string, type?: string) =>
  admin[method](path, undefined, { raw, ...(type !== undefined && { headers: { 'content-type': type } }) })

/** An operation of each method, with a body it takes. */
const operations: [Method, string, string][] = [
  ['patch', '/v1/domains/a.jp', '{"locked": false}'],
  ['put', '/v1/accounts/body/password', '{"generate_password": true}'],
]

for (const [method, path, body] of operations) {
  describe(method.toUpperCase(), () => {
    for (const type of ['application/json', 'Application/JSON', 'application/json; charset=utf-8']) {
      test(`takes ${type}`, async () => {
        assert.equal((await send(method, path, body, type)).status, 200)
      })
    }

    const merge = method === 'patch' ? 'takes' : 'refuses'
    test(`${merge} a merge patch`, async () => {
      const reply = await send(method, path, body, 'application/merge-patch+json')
      assert.equal(outcome(reply), method === 'patch' ? '200' : '415 unsupported-media-type')
    })

    const others = [
      ...['text/plain', 'text/json', 'application/xml', 'application/x-www-form-urlencoded'],
      ...[
        'application/json-patch+json',
        'application/problem+json',
        'application/jsonx',
        'multipart/form-data',
      ],
      ...['application/octet-stream', 'nonsense', '*/*'],
    ]
    for (const type of others) {
      test(`refuses ${type}`, async () => {
        assert.equal(outcome(await send(method, path, body, type)), '415 unsupported-media-type')
      })
    }

    const wrong = [
      '{',
      '{"locked": tru}',
      "{'a': 1}",
      '{"a": 1,}',
      '{} {}',
      'x',
      ' ',
      '{"__proto__": {}}',
      '\0',
    ]
    for (const text of wrong) {
      test(`refuses ${JSON.stringify(text)}, which is no JSON`, async () => {
        assert.equal(outcome(await send(method, path, text)), '400 invalid-request')
      })
    }

    for (const text of ['null', '[]', '"text"', '5', 'true', '[{}]']) {
      test(`refuses ${text}, which is no object`, async () => {
        const refused = await send(method, path, text)
        assert.equal(outcome(refused), '400 invalid-request')
        assert.equal(refused.body.errors[0].pointer, '')
      })
    }

    for (const type of ['application/json', 'application/merge-patch+json', 'text/plain', 'nonsense']) {
      test(`an empty body is none, called ${type}`, async () => {
        const refused = await send(method, path, '', type)
        assert.equal(
          outcome(refused),
          type === 'nonsense' ? '415 unsupported-media-type' : '400 invalid-request',
        )
      })
    }

    test('names each unknown member', async () => {
      const refused = await send(method, path, '{"Locked": true, "passwort": "x"}')
      const pointers = refused.body.errors.map((error: { pointer: string }) => error.pointer)
      assert.deepEqual(pointers.sort(), ['/Locked', '/passwort'])
    })

    test('takes 64 KiB and no more', async () => {
      const limit = 64 * 1024
      assert.equal((await send(method, path, body.padEnd(limit, ' '))).status, 200)
      const refused = await send(method, path, body.padEnd(limit + 1, ' '))
      assert.equal(outcome(refused), '413 content-too-large')
    })
  })
}

test('a body too large is refused for every operation that takes one', async () => {
  const raw = '{}'.padEnd(64 * 1024 + 1, ' ')
  const large: [Method, string][] = [
    ...(['domains', 'accounts', 'mailboxes'] as const).map((kind): [Method, string] => [
      'post',
      `/v1/${kind}`,
    ]),
    ['put', '/v1/mailboxes/u@a.jp'],
    ['put', '/v1/accounts/body/password'],
    ['patch', '/v1/mailboxes/u@a.jp'],
    ['patch', '/v1/accounts/body'],
    ['patch', '/v1/domains/a.jp'],
    ['patch', '/v1/server'],
  ]
  for (const [method, path] of large) {
    assert.equal(outcome(await send(method, path, raw)), '413 content-too-large', `${method} ${path}`)
    assert.equal(outcome(await send(method, path, '{}', 'text/csv')), '415 unsupported-media-type')
    assert.equal(outcome(await send(method, path, '{')), '400 invalid-request')
  }
})

test('an operation without a body refuses one that says something', async () => {
  const paths: ['delete' | 'post', string][] = [
    ['delete', '/v1/domains/a.jp'],
    ['delete', '/v1/mailboxes/u@a.jp'],
    ['post', '/v1/domains/a.jp/restore'],
    ['post', '/v1/mailboxes/u@a.jp/restore'],
  ]
  for (const [method, path] of paths) {
    for (const raw of ['{"mailboxes": "delete"}', '[]', 'null', '1', '""']) {
      const options = { raw, headers: { 'content-type': 'application/json' } }
      const sent = method === 'post' ? admin.post(path, undefined, options) : admin.delete(path, options)
      assert.equal(outcome(await sent), '400 invalid-request', `${method} ${path} ${raw}`)
    }
  }
  assert.equal((await admin.post('/v1/domains/a.jp/restore', {})).status, 200)
})

describe('DELETE', () => {
  const remove = async (raw: string, type: string) => {
    await admin.post('/v1/domains', { name: 'gone.jp' })
    return outcome(await admin.delete('/v1/domains/gone.jp', { raw, headers: { 'content-type': type } }))
  }

  test('needs no body, and an empty one is none whatever its type', async () => {
    for (const type of ['application/json', 'text/plain', 'application/merge-patch+json'])
      assert.equal(await remove('', type), '204', type)
  })

  test('refuses a body that is no JSON, like every other operation', async () => {
    for (const path of ['domains/a.jp', 'accounts/body', 'mailboxes/u@a.jp']) {
      const reply = (raw: string, type = 'application/json') =>
        admin.delete(`/v1/${path}`, { raw, headers: { 'content-type': type } })
      assert.equal(outcome(await reply('x', 'text/plain')), '415 unsupported-media-type')
      assert.equal(outcome(await reply('{')), '400 invalid-request')
      assert.equal(outcome(await reply(' '.repeat(64 * 1024 + 1))), '413 content-too-large')
    }
    assert.equal((await admin.get('/v1/domains/a.jp')).status, 200)
  })
})

test('no answer to a malformed body repeats a piece of it', async () => {
  const secret = 'MYSECRETPASSWORD'
  const clients: [Method, string][] = [
    ['post', '/v1/mailboxes'],
    ['post', '/v1/accounts'],
    ['put', '/v1/accounts/body/password'],
  ]
  for (const [method, path] of clients) {
    for (const raw of [`{"password": "${secret}"`, `{"password": ${secret}}`, `${secret}`]) {
      const refused = await send(method, path, raw)
      assert.equal(outcome(refused), '400 invalid-request')
      assert.equal(JSON.stringify(refused.body).includes(secret), false)
    }
  }
})

test('values are taken as they are sent: no type is made of another', async () => {
  const wrong: [keyof Client & Method, string, object][] = [
    ['patch', '/v1/domains/a.jp', { locked: 'true' }],
    ['patch', '/v1/domains/a.jp', { locked: 0 }],
    ['patch', '/v1/domains/a.jp', { mailbox_limit: '5' }],
    ['patch', '/v1/domains/a.jp', { mailbox_limit: true }],
    ['patch', '/v1/domains/a.jp', { mail_server: 5 }],
    ['patch', '/v1/domains/a.jp', { secure_password_mechanisms: 'CRAM-MD5' }],
    ['patch', '/v1/accounts/body', { display_name: 5 }],
    ['patch', '/v1/accounts/body', { disabled: null }],
    ['patch', '/v1/server', { pop3s_port: '995' }],
    ['patch', '/v1/server', { require_secure_password: 1 }],
  ]
  for (const [method, path, body] of wrong) {
    const refused = await admin[method](path, body)
    assert.equal(outcome(refused), '400 invalid-request', JSON.stringify(body))
    assert.equal(refused.body.errors[0].pointer, `/${Object.keys(body)[0]}`)
  }
})

test('bytes that are no UTF-8 are refused, and so is another charset', async () => {
  const send = (body: Buffer, contentType: string) =>
    fetch(`${service.url}/v1/domains`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin.token}`, 'content-type': contentType },
      body: new Uint8Array(body),
    })
  const latin1 = Buffer.from('{"name":"m\u00fcller.jp"}', 'latin1')
  assert.equal((await send(latin1, 'application/json')).status, 400)
  assert.equal((await send(latin1, 'application/json; charset=iso-8859-1')).status, 415)
  const utf8 = Buffer.from('{"name":"m\u00fcller.jp"}')
  assert.equal((await send(utf8, 'application/json; charset="UTF-8"')).status, 201)
})

test('a body that nests deeper than the stack is a bad request, with and without a key', async () => {
  const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`
  for (const headers of [{}, { 'idempotency-key': 'deep' }])
    for (const path of [
      '/v1/domains',
      '/v1/domains/example.jp/restore',
      '/v1/mailboxes/a@example.jp/restore',
    ])
      assert.equal((await admin.post(path, undefined, { raw: deep, headers })).status, 400, path)
})
