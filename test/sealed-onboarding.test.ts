import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient, outcome, type Reply } from './support/client.ts'
import { startRecordingProxy } from './support/recording-proxy.ts'
import { makeSealingPair, openSealed } from './support/sealing.ts'
import { startService } from './support/service.ts'

/** `ONBOARDINGS=1000` proves it for more people, at 20 ms and more each. */
const count = Number(process.env.ONBOARDINGS ?? 200)
const atOnce = 20

const service = await startService()
await (await service.as()).patch('/v1/server', { scram_iterations: 4096 }) // what is hashed is not the matter
const proxy = await startRecordingProxy(service.url)
const sealedOnly = await service.as({ passwordDelivery: 'sealed' })
const hr = createClient(proxy.url, sealedOnly.token)
const helpDesk = await makeSealingPair('P-256', 'help-desk')
const sealed = { generate_password: true, seal_password_to: helpDesk.publicKey }

/** By every way there is, one after another. */
const onboard = (i: number): Promise<Reply> => {
  const options = { headers: { 'idempotency-key': `person-${i}` } }
  const account = { external_id: String(i) }
  if (i % 4 === 0)
    return hr.post('/v1/mailboxes', { address: `p${i}@sealed.jp`, account, ...sealed }, options)
  if (i % 4 === 1) return hr.put(`/v1/mailboxes/p${i}@sealed.jp`, { account, ...sealed })
  if (i % 4 === 2) return hr.post('/v1/accounts', { name: `p${i}`, ...account, ...sealed }, options)
  const name_candidates = ['p0', 'p1', `p${i}`]
  return hr.post('/v1/mailboxes', { domain: 'sealed.jp', name_candidates, account, ...sealed }, options)
}

test(`${count} onboardings show no password on the wire, in the log and in the tables`, async (t) => {
  const began = performance.now()
  await hr.post('/v1/domains', {
    name: 'sealed.jp',
    secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'],
  })
  const replies = [await onboard(0), await onboard(1)] // the names that candidates find taken
  for (let i = 2; i < count; i += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, count - i) }, (_, j) => onboard(i + j))
    replies.push(...(await Promise.all(batch)))
  }
  assert.deepEqual([...new Set(replies.map(outcome))], ['201'])
  // a new password for some, and a repeat of what was answered
  replies.push(await hr.put('/v1/accounts/p1/password', sealed), await onboard(0))

  const texts = replies.map(({ body }) => String(body.sealed_password))
  const payloads = await Promise.all(texts.map((jwe) => openSealed(jwe, helpDesk)))
  const passwords = new Set(payloads.map(({ password }) => password))
  assert.equal(passwords.size, count + 1) // the repeat shows the same again
  const places = {
    wire: proxy.recorded(),
    log: Buffer.from(service.log.join('')),
    tables: Buffer.from(await dump()),
  }
  for (const [place, octets] of Object.entries(places)) {
    assert.ok(octets.length > 100 * count, place)
    assert.deepEqual(findAny([...passwords], octets), [], place)
  }
  const ms = Math.round(performance.now() - began)
  t.diagnostic(
    `${ms} ms; ${Object.entries(places).map(([place, { length }]) => `${place} ${length} octets`)}`,
  )
})

test('a password that is not sealed is found there', async () => {
  const all = createClient(proxy.url, await service.token())
  const reply = await all.post('/v1/accounts', { name: 'in-clear', generate_password: true })
  const { generated_password: password } = reply.body
  assert.deepEqual(findAny([password], proxy.recorded()), [password])
  await all.patch('/v1/accounts/in-clear', { external_id: Buffer.from(`x${password}`).toString('base64') })
  assert.deepEqual(findAny([password], Buffer.from(await dump())), [password])
})

/** Those that stand there as they are or in base64, whatever came before them. */
function findAny(passwords: string[], octets: Buffer): string[] {
  return passwords.filter((password) => spellings(password).some((text) => octets.includes(text)))
}

// Three octets make four letters: by where it begins, a text has three spellings, but for letters at both ends.
function spellings(password: string): string[] {
  const inBase64 = ['', 'x', 'xx'].map((before) =>
    Buffer.from(before + password)
      .toString('base64')
      .slice(before === '' ? 0 : 4, -4),
  )
  return [password, ...inBase64]
}

/** Every row of every table, verifiers and jobs too. */
async function dump(): Promise<string> {
  const { rows: tables } = await service.admin.query<{ name: string }>(`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')`)
  assert.ok(tables.length > 10)
  const contents = await Promise.all(
    tables.map(({ name }) => service.admin.query(`select t::text as text from ${name} as t`)),
  )
  return contents.flatMap(({ rows }) => rows.map(({ text }) => text)).join('\n')
}
