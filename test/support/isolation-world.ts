import type { Client } from './client.ts'
import type { Service } from './service.ts'
import { makeToken } from './tokens.ts'
import { assertMade } from './worlds.ts'

// What test/support/worlds.ts is filled with: of each kind of object one of the callers and one of others, and whatever
// ties the two together.

const domains = [
  ...[{ name: 'a.jp' }, { name: 'b.jp', mailbox_limit: 6 }, { name: 'gone.jp' }, { name: 'stub.jp' }],
  ...[{ name: 'f-foreign.jp' }, { name: 'f-deleted.jp' }],
  { name: 'brand.jp', alias_of: 'stub.jp' },
  { name: 'a-brand.jp', alias_of: 'a.jp' },
  { name: 'f-brand.jp', alias_of: 'a.jp' }, // somebody else's name for the callers' domain
  { name: 'f-alias.jp', alias_of: 'f-foreign.jp' },
]

const mailboxes: [string, object?][] = [
  ['one@a.jp', { account: { external_id: '1001', display_name: 'Hanako' } }],
  ['two@a.jp', { delivery: 'refuse' }],
  ...['lost@a.jp', 'kept@a.jp', 'old@a.jp', 'away@a.jp'].map((address): [string] => [address]),
  ['held@a.jp', { hold: true }],
  ['filed@a.jp', { authentication: 'password_file', generate_password: true, no_password: false }],
  ['three@b.jp', { account: { external_id: '1001' } }],
  ['along@gone.jp'],
  ['f-boss@f-foreign.jp', { account: { external_id: '1001' }, generate_password: true, no_password: false }],
  ['f-locked@f-foreign.jp'],
  ...['f-gone', 'f-kept', 'f-old', 'f-moved'].map((name): [string] => [`${name}@f-foreign.jp`]),
  ['f-held@f-foreign.jp', { hold: true }],
  ['f-filed@f-foreign.jp', { authentication: 'password_file', generate_password: true, no_password: false }],
  ['f-along@f-deleted.jp'],
  ['f-stub@stub.jp'],
  ['sender@a.jp', { forward_to: ['f-boss@f-foreign.jp', 'two@a.jp'] }],
  ['f-sender@f-foreign.jp', { forward_to: ['one@a.jp'] }],
]

const aliases: [string, string[]][] = [
  ['team@a.jp', ['one@a.jp', 'three@b.jp']],
  ['out@a.jp', ['f-boss@f-foreign.jp', 'one@a.jp']],
  ['by-brand@a.jp', ['one@f-brand.jp', 'two@a-brand.jp']],
  ['@b.jp', ['three@b.jp']],
  ['f-team@f-foreign.jp', ['f-boss@f-foreign.jp', 'one@a.jp']],
  ['f-round@f-foreign.jp', ['team@a.jp', 'one@f-brand.jp']],
  ['@f-foreign.jp', ['f-boss@f-foreign.jp']],
  ['f-alias@stub.jp', ['f-stub@stub.jp']],
]

export async function fillWorld({ admin: database, url }: Service, admin: Client): Promise<void> {
  const made = async (reply: ReturnType<Client['post']>) => assertMade(await reply)
  await made(admin.patch('/v1/server', { scram_iterations: 4096 })) // hashing is not the matter
  for (const domain of domains) await made(admin.post('/v1/domains', domain))
  for (const [address, values] of mailboxes)
    await made(admin.post('/v1/mailboxes', { address, no_password: true, ...values }))
  for (const [address, targets] of aliases)
    await made(admin.post('/v1/aliases', { address, targets, allow_role_name: true }))
  for (const [from, address] of [
    ['old@a.jp', 'new@a.jp'],
    ['away@a.jp', 'f-away@f-foreign.jp'],
    ['f-old@f-foreign.jp', 'f-new@f-foreign.jp'],
    ['f-moved@f-foreign.jp', 'moved@a.jp'],
  ] as const)
    await made(admin.post(`/v1/mailboxes/${from}/rename`, { address }))
  for (const mailbox of ['lost@a.jp', 'f-gone@f-foreign.jp'])
    await made(admin.delete(`/v1/mailboxes/${mailbox}?account=delete`))
  for (const mailbox of ['kept@a.jp', 'f-kept@f-foreign.jp'])
    await made(admin.delete(`/v1/mailboxes/${mailbox}`))
  for (const domain of ['gone.jp', 'f-deleted.jp'])
    await made(admin.delete(`/v1/domains/${domain}?mailboxes=delete&expect=1`))
  await made(admin.post('/v1/accounts', { name: 'f-alone', generate_password: true, external_id: '1001' }))
  await made(admin.patch('/v1/mailboxes/f-locked@f-foreign.jp', { locked: true }))
  await made(admin.patch('/v1/domains/b.jp', { postmaster_address: 'f-boss@f-foreign.jp' }))
  await made(admin.patch('/v1/domains/f-foreign.jp', { postmaster_address: 'one@a.jp' }))
  await database.query(
    `insert into mail.usage (username, bytes, messages)
     select name || '@' || domain, 1000, 10 from app.mailboxes`,
  )
  await made(admin.post('/v1/imports', { address: 'f-boss@f-foreign.jp', operation: 'lock' }))
  await makeTokens(url, admin)
}

async function makeTokens(url: string, admin: Client): Promise<void> {
  const scopes = ['tokens:write', 'mailboxes:write']
  for (const domains of [['f-foreign.jp'], ['a.jp', 'f-foreign.jp'], ['*'], ['a.jp'], ['a.jp', 'b.jp']]) {
    const label = domains.join()
    const { client } = await makeToken(url, admin, { label, scopes, domains })
    await makeToken(url, client, { label: `child of ${label}`, scopes })
    if (domains.length > 1)
      await makeToken(url, client, { label: `less than ${label}`, scopes, domains: ['a.jp'] })
  }
}
