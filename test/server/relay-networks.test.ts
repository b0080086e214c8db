import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { outcome } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const admin = await service.as()

async function set(relay_networks: unknown[]) {
  return admin.patch('/v1/server', { relay_networks })
}

describe('relay networks', () => {
  test('are kept in one form', async () => {
    const given = ['192.0.2.7', '10.0.0.0/8', '2001:DB8:0::/32', '2001:db8::1', '10.0.0.0/8']
    const changed = await set(given)
    const kept = ['192.0.2.7/32', '10.0.0.0/8', '2001:db8::/32', '2001:db8::1/128']
    assert.deepEqual(changed.body.relay_networks, kept)
    assert.deepEqual((await admin.get('/v1/server')).body.relay_networks, kept)
    assert.equal((await set(given)).etag, changed.etag)
  })

  const refused = [
    ...['0.0.0.0/0', '10.0.0.0/7', '::/0', '2001::/31', '10.1.2.3/8', '2001:db8::1/32'],
    ...[
      'example.jp',
      '10.0.0.0/8/8',
      '10.0.0',
      '0x7f.1',
      '010.0.0.1',
      '::ffff:10.0.0.1',
      'fe80::1%eth0',
      '',
      '10.0.0.0/33',
    ],
  ]
  for (const network of refused) {
    test(`refuse ${JSON.stringify(network)}`, async () => {
      const answer = await set(['192.0.2.0/28', network])
      assert.equal(outcome(answer), '422 invalid-network')
      assert.equal(answer.body.errors[0].pointer, '/relay_networks/1')
    })
  }

  test('need the scope for mail flow', async () => {
    const caller = await service.as({ scopes: ['server:write'] })
    assert.equal(outcome(await caller.patch('/v1/server', { relay_networks: [] })), '403 insufficient-scope')
  })

  test('are refused by the database too when they are too wide', async () => {
    for (const wide of ['10.0.0.0/7', '2001::/31']) {
      const update = service.admin.query('update app.settings set relay_networks = $1', [[wide]])
      await assert.rejects(update, { constraint: 'settings_relay_networks_check' })
    }
  })

  test('are what Postfix is told, and no odd client is an error', async () => {
    await set(['192.0.2.0/28', '2001:db8::/32'])
    const told = async (client: string) =>
      (await service.admin.query('select mail.relay_client($1) as told', [client])).rows.map(
        (row) => row.told,
      )
    for (const client of ['192.0.2.1', '192.0.2.15', '2001:db8::5'])
      assert.deepEqual(await told(client), ['OK'])
    const others = [
      '192.0.2.16',
      '192.0.2',
      '192',
      'unknown',
      '',
      '::1',
      "'",
      '192.0.2.1/24',
      'a'.repeat(10_000),
    ]
    for (const client of others) assert.deepEqual(await told(client), [], client)
  })
})
