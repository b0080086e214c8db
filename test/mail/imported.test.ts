import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { argon2Sync, pbkdf2Sync, randomBytes } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { bcrypt } from 'hash-wasm'
import { saltOctets, scramSha256Verifier } from '../../src/accounts/verifiers.ts'
import type { Client } from '../support/client.ts'
import { importFile, ndjson } from '../support/imports.ts'
import { curlLogin, gsaslLogin } from '../support/mail-clients.ts'
import { cannotServeMail, startMailSystem } from '../support/mail-servers.ts'

const { service, servers } = await startMailSystem()
const password = 'correct horse battery'
const plain = { mechanism: 'PLAIN' }

const unpadded = (octets: Buffer) => octets.toString('base64').replace(/=+$/, '')

function argon2(kind: 'argon2id' | 'argon2i', memory: number, passes: number, parallelism: number): string {
  const nonce = randomBytes(saltOctets)
  const tag = argon2Sync(kind, { message: password, nonce, memory, passes, parallelism, tagLength: 32 })
  return `$${kind}$v=19$m=${memory},t=${passes},p=${parallelism}$${unpadded(nonce)}$${unpadded(tag)}`
}

function openssl(kind: '-5' | '-6'): string {
  return execFileSync('openssl', ['passwd', kind, password], { encoding: 'utf8' }).trim()
}

function pbkdf2(): string {
  const salt = 'Q2k9x.zZ01aBcDeF'
  return `$1$${salt}$5000$${pbkdf2Sync(password, salt, 5000, 20, 'sha1').toString('hex')}`
}

/** By the scheme that accounts show. */
async function hashes(): Promise<Record<string, string[]>> {
  const blowfish = await bcrypt({ password, salt: randomBytes(16), costFactor: 5, outputType: 'encoded' })
  const scram = await scramSha256Verifier(password, 4096)
  return {
    ARGON2ID: [argon2('argon2id', 19_456, 2, 1), `{ARGON2ID}${argon2('argon2id', 65_536, 3, 4)}`],
    ARGON2I: [`{ARGON2I}${argon2('argon2i', 32_768, 4, 1)}`],
    'BLF-CRYPT': [blowfish.replace('$2a$', '$2y$'), `{BLF-CRYPT}${blowfish}`],
    'SHA512-CRYPT': [openssl('-6'), `{SHA512-CRYPT}${openssl('-6')}`],
    'SHA256-CRYPT': [openssl('-5'), `{SHA256-CRYPT}${openssl('-5')}`],
    PBKDF2: [`{PBKDF2}${pbkdf2()}`],
    'SCRAM-SHA-256': [`{SCRAM-SHA-256}${scram}`],
  }
}

describe('people who moved in with their hash', { skip: cannotServeMail }, () => {
  let api: Client
  const people: { name: string; scheme: string }[] = []
  before(async () => {
    api = await service.as()
    await api.post('/v1/domains', { name: 'moved.example' })
    const rows = Object.entries(await hashes()).flatMap(([scheme, texts]) =>
      texts.map((password_hash, i) => {
        const name = `${scheme.toLowerCase()}${i}`
        people.push({ name, scheme })
        return { address: `${name}@moved.example`, password_hash }
      }),
    )
    const { counts } = await importFile(api, ndjson(rows))
    assert.equal(counts.created, rows.length)
  })

  test('log in with the password that they had, and with no other', async () => {
    for (const { name, scheme } of people) {
      const user = `${name}@moved.example`
      assert.equal(await curlLogin(servers, 'imap', { ...plain, user, password }), 'ok', name)
      assert.equal(
        await curlLogin(servers, 'imap', { ...plain, user, password: 'another password' }),
        'refused',
        name,
      )
      const { body } = await api.get(`/v1/accounts/${name}`)
      assert.equal(body.password_scheme, scheme)
    }
  })

  test('have the challenge-response login with a SCRAM hash alone, and all of it is listed', async () => {
    for (const { name, scheme } of people) {
      const { body } = await api.get(`/v1/mailboxes/${name}@moved.example`)
      assert.notEqual(body.credentials.clear_text, null)
      assert.equal(body.credentials.secure_password !== null, scheme === 'SCRAM-SHA-256', name)
    }
    const listed = await api.get('/v1/accounts?password_scheme=BLF-CRYPT')
    assert.equal(listed.body.items.length, 2)
    assert.equal((await api.get('/v1/accounts?password_scheme=ARGON2ID')).body.items.length, 2)
    assert.equal(
      await gsaslLogin(servers, { mechanism: 'SCRAM-SHA-256', user: 'scram-sha-2560', password }),
      true,
    )
  })

  test('are refused while they are locked, and have a new form once their password is set', async () => {
    for (const { name } of people) {
      const user = `${name}@moved.example`
      await api.patch(`/v1/mailboxes/${user}`, { locked: true })
      assert.equal(await curlLogin(servers, 'imap', { ...plain, user, password }), 'refused', name)
      await api.patch(`/v1/mailboxes/${user}`, { locked: false })
    }
    const { name } = people.find(({ scheme }) => scheme === 'SHA512-CRYPT')!
    await api.put(`/v1/accounts/${name}/password`, { password: 'a quite new password' })
    const { body } = await api.get(`/v1/accounts/${name}`)
    assert.equal(body.password_scheme, 'ARGON2ID')
    const user = `${name}@moved.example`
    assert.equal(await curlLogin(servers, 'imap', { ...plain, user, password: 'a quite new password' }), 'ok')
  })
})
