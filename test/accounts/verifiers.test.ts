import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { argon2Verify } from 'hash-wasm'
import { cramMd5Verifier } from '../../src/accounts/cram-md5.ts'
import { generatePassword } from '../../src/accounts/password.ts'
import {
  argon2idParameters,
  deriveVerifiers,
  type Mechanism,
  scramSha256Verifier,
  securePasswordMechanisms,
  type Verifier,
  type VerifierKind,
} from '../../src/accounts/verifiers.ts'

const scramIterations = 4096 // RFC 7677 §4: the least

function deriveAll(password: string): Promise<Verifier[]> {
  return deriveVerifiers(password, { mechanisms: securePasswordMechanisms, scramIterations })
}

async function derive(password: string, mechanism: VerifierKind): Promise<string> {
  const found = (await deriveAll(password)).find((verifier) => verifier.mechanism === mechanism)
  assert.ok(found)
  return found.verifier
}

test('SCRAM verifies the client proof and makes the server signature of RFC 7677 §3', async () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
  const [iterations, storedSalt, storedKey, serverKey] = (
    await scramSha256Verifier('pencil', 4096, salt)
  ).split(',')
  assert.deepEqual([iterations, storedSalt], ['4096', 'W22ZaJ0SNY7soEsUEjb6gQ=='])
  const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
  const serverFirst = `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`
  const authMessage = `n=user,r=rOprNGfwEbeRWgbNEkqO,${serverFirst},c=biws,r=${nonce}`
  const sign = (key: string) => createHmac('sha256', Buffer.from(key, 'base64')).update(authMessage).digest()
  // RFC 5802 §3: the server gets ClientKey back from the proof and compares its hash.
  const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64')
  const clientKey = Buffer.from(sign(storedKey!).map((octet, i) => octet ^ proof[i]!))
  assert.equal(createHash('sha256').update(clientKey).digest('base64'), storedKey)
  assert.equal(sign(serverKey!).toString('base64'), '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

test('writes the four fields that Dovecot reads, in padded base64, and a new salt each time', async () => {
  const form = /^4096,[A-Za-z0-9+/]{22}==,[A-Za-z0-9+/]{43}=,[A-Za-z0-9+/]{43}=$/
  const [one, other] = [await derive('password', 'SCRAM-SHA-256'), await derive('password', 'SCRAM-SHA-256')]
  assert.match(one, form)
  assert.match(other, form)
  assert.notEqual(one.split(',')[1], other.split(',')[1])
})

test('derives SCRAM with the iterations that are asked for', async () => {
  const options = { mechanisms: ['SCRAM-SHA-256'], scramIterations: 5000 } as const
  const [, scram] = await deriveVerifiers('password', options)
  const [iterations, salt] = scram!.verifier.split(',')
  assert.equal(iterations, '5000')
  assert.equal(await scramSha256Verifier('password', 5000, Buffer.from(salt!, 'base64')), scram!.verifier)
})

test('writes a PHC string of Argon2id with its parameters, and a new salt each time', async () => {
  const [one, other] = [await derive('password', 'ARGON2ID'), await derive('password', 'ARGON2ID')]
  for (const hash of [one, other]) {
    assert.match(hash, /^\$argon2id\$v=19\$m=7168,t=5,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  }
  assert.notEqual(one, other)
})

for (const password of ['pencil-pencil', 'ひみつのことばです', 'x'.repeat(512), 'a b\u00a0c ｐａｓｓ']) {
  test(`Argon2id of ${password.slice(0, 20)} is verified by another implementation`, async () => {
    const hash = await derive(password, 'ARGON2ID')
    assert.equal(await argon2Verify({ password, hash }), true)
    assert.equal(await argon2Verify({ password: `${password} `, hash }), false)
  })
}

test('has an equivalent set of the OWASP Password Storage Cheat Sheet', () => {
  const owasp = ['47104/1', '19456/2', '12288/3', '9216/4', '7168/5']
  assert.ok(owasp.includes(`${argon2idParameters.memory}/${argon2idParameters.passes}`))
  assert.equal(argon2idParameters.parallelism, 1)
})

const choices: [mechanisms: Mechanism[], made: VerifierKind[]][] = [
  [[], ['ARGON2ID']],
  [['SCRAM-SHA-256'], ['ARGON2ID', 'SCRAM-SHA-256']],
  [['CRAM-MD5'], ['ARGON2ID', 'CRAM-MD5']],
  [
    ['CRAM-MD5', 'SCRAM-SHA-256', 'CRAM-MD5'],
    ['ARGON2ID', 'SCRAM-SHA-256', 'CRAM-MD5'],
  ],
]

for (const [mechanisms, made] of choices) {
  test(`makes ${made.join(', ')} when asked for ${mechanisms.join(', ') || 'none'}`, async () => {
    const verifiers = await deriveVerifiers('password', { mechanisms, scramIterations })
    assert.deepEqual(
      verifiers.map(({ mechanism }) => mechanism),
      made,
    )
  })
}

test('takes what was typed for Argon2id and the SASLprep form for the mechanisms', async () => {
  // U+00A0 becomes a space, U+00AD nothing, full-width letters ASCII; o and U+0308 are one character in both.
  const typed = 'ｐａｓｓ\u00a0wo\u0308\u00adrd'
  const prepared = 'pass w\u00f6rd'
  const [argon2id, scram, cram] = await deriveAll(typed)
  assert.equal(
    await argon2Verify({ password: 'ｐａｓｓ\u00a0w\u00f6\u00adrd', hash: argon2id!.verifier }),
    true,
  )
  assert.equal(await argon2Verify({ password: prepared, hash: argon2id!.verifier }), false)
  const salt = Buffer.from(scram!.verifier.split(',')[1]!, 'base64')
  assert.equal(scram!.verifier, await scramSha256Verifier(prepared, scramIterations, salt))
  assert.equal(cram!.verifier, cramMd5Verifier(prepared))
})

test('derives beside the event loop, which goes on meanwhile', async () => {
  let ticks = 0
  const timer = setInterval(() => {
    ticks += 1
  }, 1)
  await deriveVerifiers('password', { mechanisms: ['SCRAM-SHA-256'], scramIterations: 200_000 })
  clearInterval(timer)
  assert.ok(ticks > 3, `${ticks} ticks`)
})

const doveadm = spawnSync('doveadm', ['pw', '-l'], { encoding: 'utf8' })
const withoutDoveadm = doveadm.error === undefined ? false : 'doveadm (package dovecot-core) is not installed'
const skip = process.env.CI === 'true' ? false : withoutDoveadm

for (const password of [generatePassword(), 'ひみつのことばです', `"quoted" 'and' \\ $HOME {PLAIN}`]) {
  test(`Dovecot itself verifies all that is made of a password (${password.length} units)`, {
    skip,
  }, async () => {
    assert.equal(withoutDoveadm, false)
    for (const { mechanism, verifier } of await deriveAll(password)) {
      assert.equal(await dovecotVerifies(mechanism, verifier, password), true, mechanism)
      assert.equal(await dovecotVerifies(mechanism, verifier, `${password}!`), false, mechanism)
    }
  })
}

async function dovecotVerifies(
  mechanism: VerifierKind,
  verifier: string,
  password: string,
): Promise<boolean> {
  const entry = `{${mechanism}}${verifier}`
  try {
    const { stdout } = await promisify(execFile)('doveadm', ['pw', '-t', entry, '-p', password])
    return stdout === `${entry} (verified)\n`
  } catch (error) {
    // Anything else than a refusal, such as an unknown scheme, is a failure of the test.
    assert.match(
      (error as { stderr: string }).stderr,
      /^Fatal: reverse password verification check failed: Password mismatch\n$/,
    )
    return false
  }
}
