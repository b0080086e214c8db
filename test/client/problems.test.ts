import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import {
  createClient,
  createDomain,
  createMailbox,
  getLiveness,
  getMailbox,
  isProblem,
  listDomains,
  ProblemError,
  updateDomain,
} from '../../clients/typescript/src/index.ts'
import { catalogue } from '../../src/catalogue.ts'
import { startFaultyProxy } from '../support/faulty-proxy.ts'
import { startService } from '../support/service.ts'

const service = await startService()
const proxy = await startFaultyProxy(service.url)
const token = await service.token()
const client = createClient({ url: proxy.url, token, attempts: 1 })
for (const name of ['problems.example', 'other.example']) await createDomain({ client, body: { name } })

async function refusal(request: Promise<unknown>): Promise<unknown> {
  return request.then(
    () => assert.fail('not refused'),
    (error: unknown) => error,
  )
}

test('a refusal is an error with its code, its problem and its headers', async () => {
  const create = (address: string) => createMailbox({ client, body: { address, no_password: true } })
  await create('hanako@problems.example')
  const error = await refusal(create('hanako@other.example'))
  assert.ok(isProblem(error, 'mailbox-exists', 'name-taken'))
  const code: 'mailbox-exists' | 'name-taken' = error.code
  assert.equal(code, 'name-taken')
  assert.deepEqual([error.status, error.name], [409, 'ProblemError'])
  assert.equal(error.problem.conflict?.address, 'hanako@problems.example')
  assert.equal(error.problem.instance, `urn:uuid:${error.response.headers.get('x-request-id')}`)
  assert.ok(error.message.startsWith(error.problem.title))
})

test('it can be asked for by its code, or for any', async () => {
  const path = { mailbox: 'nobody@problems.example' }
  const error = await refusal(getMailbox({ client, path }))
  assert.ok(isProblem(error) && isProblem(error, 'mailbox-not-found'))
  assert.ok(!isProblem(error, 'name-taken') && !isProblem(new Error('no'), 'mailbox-not-found'))
})

test('the wrong members are named', async () => {
  const error = await refusal(
    updateDomain({ client, path: { domain: 'problems.example' }, body: { locked: 1 as never } }),
  )
  assert.ok(isProblem(error, 'invalid-request'))
  assert.deepEqual(
    error.problem.errors?.map(({ pointer }) => pointer),
    ['/locked'],
  )
})

test('what a proxy answers has no code', async () => {
  proxy.faults.push({
    status: 502,
    body: '<html>Bad Gateway</html>',
    headers: { 'content-type': 'text/html' },
  })
  const error = await refusal(listDomains({ client }))
  assert.ok(error instanceof ProblemError)
  assert.deepEqual([error.code, error.status, error.message], [undefined, 502, 'HTTP 502 Bad Gateway'])
  assert.equal(error.problem.type, 'about:blank')
})

test('nothing is sent on to where an answer points', async () => {
  const elsewhere = await startFaultyProxy(service.url)
  proxy.faults.push({ status: 307, headers: { location: `${elsewhere.url}/v1/domains` } })
  await assert.rejects(createDomain({ client, body: { name: 'elsewhere.example' } }), { status: 307 })
  assert.equal(elsewhere.seen.length, 0)
})

test('no answer at all is the error of fetch', async () => {
  proxy.faults.push('drop')
  const error = await refusal(listDomains({ client }))
  assert.ok(error instanceof TypeError && !isProblem(error))
})

test('every code that an operation declares is known to the type', async () => {
  const source = new URL('../../clients/typescript/src/generated/problem-codes.gen.ts', import.meta.url)
  const known = [...(await readFile(source, 'utf8')).matchAll(/'([a-z-]+)'/g)].map(([, code]) => code)
  const ofNoOperation = new Set(['method-not-allowed'])
  const codes = Object.keys(catalogue).filter((code) => !ofNoOperation.has(code))
  assert.deepEqual(known, codes.sort())
})

test('a token is asked for before each request', async () => {
  const tokens = [token, token]
  const renewing = createClient({ url: service.url, token: async () => tokens.pop() ?? 'none left' })
  await listDomains({ client: renewing })
  await listDomains({ client: renewing })
  assert.ok(isProblem(await refusal(listDomains({ client: renewing })), 'unauthenticated'))
})

test('no token is sent where none is needed', async () => {
  proxy.seen.length = 0
  await getLiveness({ client })
  await listDomains({ client })
  assert.deepEqual(
    proxy.seen.map(({ authorization }) => authorization),
    [undefined, `Bearer ${token}`],
  )
})
