import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { before, test } from 'node:test'
import { type Client, outcome, type Reply } from './support/client.ts'
import { document, type Method } from './support/contract.ts'
import { startService } from './support/service.ts'

const service = await startService()
const { admin, log } = service
const client = await service.as()
const domain = 'secrets.example'

/** Everything that was answered, as it went over the wire. */
const answers: string[] = []
const passwords = new Set<string>()
const tokens = new Set([client.token])
const verifiers = new Set<string>()

/** What nobody else says by chance, in the letters that survive every encoding. */
function newPassword(): string {
  const password = `Pass${passwords.size}word-${Math.random().toString(36).slice(2)}`
  passwords.add(password)
  return password
}

function record(reply: Reply): Reply {
  answers.push(`${JSON.stringify([...reply.headers])} ${JSON.stringify(reply.body)}`)
  return reply
}

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { operationId }]) => ({
    operationId,
    request: new RegExp(`^${method} ${path.replace('.', '[.]').replace(/[{]\w+[}]/, '[^/]+')}$`),
  })),
)
const succeeded = new Set<string>()

/** A client whose answers are all recorded. */
function recorded(inner: Client): Client {
  const follow =
    <T extends unknown[]>(method: Method, send: (path: string, ...rest: T) => Promise<Reply>) =>
    async (path: string, ...rest: T) => {
      const reply = record(await send(path, ...rest))
      const operation = operations.find(({ request }) => request.test(`${method} ${path.split('?')[0]}`))
      if (operation && reply.status < 300) succeeded.add(operation.operationId)
      return reply
    }
  return {
    token: inner.token,
    get: follow('get', inner.get),
    post: follow('post', inner.post),
    put: follow('put', inner.put),
    patch: follow('patch', inner.patch),
    delete: follow('delete', inner.delete),
  }
}
const api = recorded(client)

/** The one answer that may show a password is checked here, and taken out of what is searched. */
async function generating(call: () => Promise<Reply>, status: number): Promise<void> {
  const reply = await call()
  assert.equal(outcome(reply), String(status))
  const { generated_password: password, ...rest } = reply.body
  assert.ok(password.length >= 20)
  assert.ok(!JSON.stringify(rest).includes(password), 'the password is shown once')
  passwords.add(password)
  answers.pop()
  record({ ...reply, body: rest })
  await collectVerifiers()
}

async function collectVerifiers(): Promise<void> {
  const { rows } = await admin.query('select verifier from app.verifiers')
  for (const { verifier } of rows) verifiers.add(verifier)
}

before(async () => {
  await api.post('/v1/domains', { name: domain, secure_password_mechanisms: ['SCRAM-SHA-256', 'CRAM-MD5'] })
  await api.post('/v1/domains', { name: 'other.example' })
})

test('shows a generated password in the answer that made it and nowhere else', async () => {
  const generate = { generate_password: true }
  const made = () => api.post('/v1/mailboxes', { address: `user1@${domain}`, ...generate })
  await generating(made, 201)
  assert.equal(outcome(await made()), '409 mailbox-exists')
  const ensured = () => api.put(`/v1/mailboxes/user2@${domain}`, generate)
  await generating(ensured, 201)
  assert.equal((await ensured()).body.generated_password, undefined)
  await generating(() => api.post('/v1/accounts', { name: 'user3', ...generate }), 201)
  await generating(() => api.put('/v1/accounts/user3/password', generate), 200)
  await generating(
    () =>
      api.post('/v1/mailboxes', {
        address: `user4@${domain}`,
        authentication: 'password_file',
        ...generate,
      }),
    201,
  )
})

test('repeats an answer without the password that was in it', async () => {
  for (const [i, body] of [
    [1, { generate_password: true }],
    [2, { password: newPassword() }],
  ] as const) {
    const created = [
      () => api.post('/v1/mailboxes', { address: `once${i}@${domain}`, ...body }, key(`mailbox-${i}`)),
      () => api.post('/v1/accounts', { name: `alone${i}`, ...body }, key(`account-${i}`)),
    ]
    for (const call of created) {
      if ('generate_password' in body) await generating(call, 201)
      else assert.equal(outcome(await call()), '201')
      const again = await call()
      assert.deepEqual([outcome(again), again.headers.get('idempotency-replayed')], ['201', 'true'])
      assert.equal(again.body.generated_password, undefined)
      assert.equal(again.body.secret_omitted, 'generate_password' in body ? true : undefined)
    }
  }
  const given = () => api.post('/v1/accounts', { name: 'given', password: newPassword() }, key('given'))
  assert.equal(outcome(await given()), '201')
  const other = await given()
  assert.equal(outcome(other), '422 idempotency-key-reused')
})

function key(text: string) {
  return { headers: { 'idempotency-key': text } }
}

test('shows a token in the answer that made it and nowhere else', async () => {
  const wish = { label: 'A job', scopes: ['tokens:write'] }
  const make = () => api.post('/v1/tokens', wish, key('token'))
  const { token, ...shown } = (await make()).body
  answers.pop()
  tokens.add(token)
  const again = await make()
  assert.deepEqual([outcome(again), again.body], ['201', { ...shown, secret_omitted: true }])
  const authorization = `Bearer ${token}`
  for (const path of ['/v1/tokens', `/v1/tokens/${shown.id}`])
    assert.equal(outcome(await api.get(path, { headers: { authorization } })), '200')
  assert.equal(outcome(await api.post(`/v1/tokens/${shown.id}/reset`)), '200')
  assert.equal(outcome(await api.delete(`/v1/tokens/${shown.id}`)), '204')
  const refused = await api.get('/v1/tokens', { headers: { authorization } })
  assert.equal(outcome(refused), '401 unauthenticated')
})

test('takes a password that is given and never repeats it', async () => {
  const cases: [string, () => Promise<Reply>][] = [
    ['201', () => api.post('/v1/mailboxes', { address: `user5@${domain}`, password: newPassword() })],
    [
      '409 mailbox-exists',
      () => api.post('/v1/mailboxes', { address: `user5@${domain}`, password: newPassword() }),
    ],
    [
      '409 name-taken',
      () => api.post('/v1/mailboxes', { address: 'user5@other.example', password: newPassword() }),
    ],
    [
      '422 unknown-domain',
      () => api.post('/v1/mailboxes', { address: 'user5@none.example', password: newPassword() }),
    ],
    ['201', () => api.put(`/v1/mailboxes/user6@${domain}`, { password: newPassword() })],
    ['200', () => api.put(`/v1/mailboxes/user6@${domain}`, { password: newPassword() })],
    ['201', () => api.post('/v1/accounts', { name: 'user7', password: newPassword() })],
    ['409 account-exists', () => api.post('/v1/accounts', { name: 'user7', password: newPassword() })],
    ['204', () => api.put('/v1/accounts/user7/password', { password: newPassword() })],
    ['404 account-not-found', () => api.put('/v1/accounts/nobody/password', { password: newPassword() })],
    [
      '422 password-not-accepted',
      () => api.put('/v1/accounts/user7/password', { password: newPassword(), generate_password: true }),
    ],
    [
      '422 password-not-accepted',
      () =>
        api.post('/v1/mailboxes', {
          address: `user7@${domain}`,
          create_account: false,
          password: newPassword(),
        }),
    ],
    [
      '422 password-not-accepted',
      () => api.put('/v1/accounts/user7/password', { password: `${newPassword()}\u0007` }),
    ],
    [
      '400 invalid-request',
      () => api.put('/v1/accounts/user7/password', { password: newPassword().repeat(9) }),
    ],
    ['412 precondition-failed', () => setPassword({ 'if-match': '"another"' })],
    ['400 invalid-request', () => setPassword({ 'if-match': newPassword() })],
    ['415 unsupported-media-type', () => setPassword({ 'content-type': 'text/plain' })],
    ['415 unsupported-media-type', () => setPassword({ 'content-type': newPassword() })],
  ]
  for (const [expected, call] of cases) {
    assert.equal(outcome(await call()), expected)
    await collectVerifiers()
  }
})

function setPassword(headers: Record<string, string>): Promise<Reply> {
  return api.put('/v1/accounts/user7/password', { password: newPassword() }, { headers })
}

test('drives what takes no password too', async () => {
  const calls: [string, () => Promise<Reply>][] = [
    ['200', () => api.get('/v1/domains')],
    ['200', () => api.get(`/v1/domains/${domain}`)],
    ['200', () => api.get(`/v1/domains/${domain}/statistics`)],
    ['200', () => api.patch(`/v1/domains/${domain}`, { locked: true })],
    ['201', () => api.post('/v1/mailboxes', { address: 'back@other.example', password: newPassword() })],
    ['204', () => api.delete('/v1/domains/other.example?mailboxes=delete&expect=1')],
    ['200', () => api.post('/v1/domains/other.example/restore')],
    ['201', () => api.post('/v1/domains', { name: 'moved.example' })],
    ['200', () => api.post('/v1/domains/other.example/move', { to: 'moved.example' })],
    ['204', () => api.delete('/v1/domains/other.example')],
    ['204', () => api.delete('/v1/domains/moved.example?mailboxes=delete&expect=1&purge=true')],
    ['200', () => api.get('/v1/mailboxes?limit=2')],
    ['200', () => api.get(`/v1/mailboxes/user1@${domain}`)],
    ['200', () => api.get(`/v1/mailboxes/user1@${domain}/client-configuration`)],
    ['200', () => api.get(`/mail/config-v1.1.xml?emailaddress=user1@${domain}`)],
    ['200', () => api.get(`/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=user1@${domain}`)],
    ['200', () => api.patch(`/v1/mailboxes/user1@${domain}`, { locked: true })],
    ['204', () => api.delete(`/v1/mailboxes/user1@${domain}`)],
    ['200', () => api.get('/v1/mailboxes?state=deleted')],
    ['200', () => api.post(`/v1/mailboxes/user1@${domain}/restore`)],
    ['200', () => api.post(`/v1/mailboxes/user1@${domain}/rename`, { address: `renamed1@${domain}` })],
    ['200', () => api.post(`/v1/mailboxes/renamed1@${domain}/rename`, { address: `user1@${domain}` })],
    ['204', () => api.delete(`/v1/mailboxes/user2@${domain}?purge=true&account=delete`)],
    ['200', () => api.get('/v1/accounts')],
    ['200', () => api.get('/v1/accounts/user7')],
    ['200', () => api.patch('/v1/accounts/user7', { disabled: true })],
    ['204', () => api.delete('/v1/accounts/user7')],
    ['200', () => api.get('/v1/server')],
    ['200', () => api.patch('/v1/server', { scram_iterations: 5000 })],
    ['202', () => api.post('/v1/imports', { address: `sent@${domain}`, password: newPassword() })],
    ['202', () => api.post('/v1/imports', { address: newPassword(), no_password: true })],
    ['202', () => api.post('/v1/imports', { address: `sent@${domain}`, [newPassword()]: newPassword() })],
    ['202', () => api.post('/v1/imports', { address: `sent@${domain}`, password_hash: newPassword() })],
    ['400 invalid-request', () => api.post('/v1/imports', undefined, { raw: newPassword() })],
    ['200', () => api.get('/v1/imports')],
    ['200', async () => api.get(`/v1/imports/${await importId()}`)],
    ['200', async () => api.get(`/v1/imports/${await importId()}/rows`)],
    ['204', async () => api.delete(`/v1/imports/${await importId()}`)],
    ['200', () => api.get('/v1/audit-events')],
    ['200', () => api.get('/livez')],
    ['200', () => api.get('/readyz')],
    ['200', () => api.get('/metrics')],
    ['200', () => api.get('/problems/name-taken')],
    ['200', () => api.get('/openapi.json')],
  ]
  for (const [expected, call] of calls) assert.equal(outcome(await call()), expected)
})

async function importId(): Promise<string> {
  return (await api.get('/v1/imports')).body.items[0].id
}

test('repeats nothing that came to a wrong place', async () => {
  const wrongMembers = (secret: string): unknown[] => [
    secret,
    [secret],
    { [secret]: 1 },
    { [secret]: secret, password: secret },
    { name_candidates: secret },
    { domain, name_candidates: [secret, secret], generate_password: true },
    { domain, name_candidates: [`${secret}@${domain}`], generate_password: true },
    { domain: secret, name_candidates: ['user9'], generate_password: true },
    { seal_password_to: secret },
    { address: `user9@${domain}`, generate_password: true, seal_password_to: { [secret]: secret } },
    { name: 'user9', generate_password: true, seal_password_to: { kty: 'EC', d: secret } },
    { generate_password: true, seal_password_to: { kty: secret, crv: [secret], kid: secret } },
    { account: secret },
    { account: { [secret]: secret } },
    { account: { display_name: `${secret}\u0000` } },
    { address: secret },
    { address: `${secret}@${secret}` },
    { address: { password: secret } },
    { address: `user9@${secret}.example`, generate_password: true },
    { address: `user9@${domain}`, authentication: secret },
    { address: `user9@${domain}`, password: { password: secret } },
    { address: `${secret.toLowerCase().slice(0, 20)}@${domain}`, create_account: false },
    { name: `${secret} ` },
    { name: `-${secret}.example` },
    { name: 'user9', generate_password: secret },
    { name: 'user9', external_id: `\u202e${secret}` },
    { name: 'wrong.example', mail_server: `${secret}_` },
    { name: 'wrong.example', postmaster_address: secret },
    { locked: secret },
    { quota_bytes: secret },
    { mailbox_limit: secret },
    { secure_password_mechanisms: [secret] },
    { mail_server: `-${secret}` },
    { postmaster_address: `${secret}@` },
    { authentication: secret },
    { pop3s_port: secret },
    { disabled: secret },
    { password: [secret] },
  ]
  const targets: [keyof Client & ('post' | 'put' | 'patch'), string][] = [
    ['post', '/v1/domains'],
    ['patch', `/v1/domains/${domain}`],
    ['post', '/v1/mailboxes'],
    ['put', `/v1/mailboxes/user9@${domain}`],
    ['patch', `/v1/mailboxes/user5@${domain}`],
    ['post', '/v1/accounts'],
    ['patch', '/v1/accounts/user5'],
    ['put', '/v1/accounts/user5/password'],
    ['patch', '/v1/server'],
  ]
  for (const [method, path] of targets) {
    for (const body of wrongMembers(newPassword())) {
      const { status } = await api[method](path, body)
      assert.ok(status >= 400 && status < 500, `${method} ${path} ${JSON.stringify(body)}: ${status}`)
    }
  }
})

test('repeats nothing of a malformed body', async () => {
  const bodies = (secret: string) => [
    secret,
    `{"password": "${secret}`,
    `{"password": "${secret}"}}`,
    `{"password": '${secret}'}`,
    `{"password": "${secret}\n"}`,
    `${secret}{}`,
    `{"__proto__": "${secret}"}`,
    `{"constructor": {"prototype": "${secret}"}}`,
    `{"password": "${secret}", "x": "${'x'.repeat(70_000)}"}`,
  ]
  for (const path of ['/v1/accounts/user5/password', `/v1/mailboxes/user9@${domain}`]) {
    for (const raw of bodies(newPassword())) {
      const { status } = await api.put(path, undefined, { raw })
      assert.ok([400, 413].includes(status), `${raw.slice(0, 60)}: ${status}`)
    }
  }
})

test('repeats nothing of a path, a query or a header', async () => {
  const secret = newPassword()
  const paths = [
    `/${secret}`,
    `/v1/${secret}`,
    `/docs/${secret}`,
    `/problems/${secret}`,
    `/%zz${secret}`,
    `/v1/accounts/%zz${secret}`,
    `/v1/accounts/${secret}`,
    `/v1/accounts/${secret}%00`,
    `/v1/accounts/${secret.repeat(300)}`,
    `/v1/domains/${secret}`,
    `/v1/mailboxes/${secret}`,
    `/v1/mailboxes/user5@${secret}.example`,
    `/v1/accounts/user5?password=${secret}`,
    `/v1/accounts?${secret}`,
    `/v1/accounts?limit=${secret}`,
    `/v1/accounts?cursor=${secret}`,
    `/v1/mailboxes?state=${secret}`,
    `/v1/mailboxes?updated_since=${secret}`,
    `/v1/mailboxes?locked=${secret}`,
    `/v1/domains?state=${secret}&${secret}=1`,
  ]
  for (const path of paths) {
    const { status } = await api.get(path)
    assert.ok(status >= 400 && status < 500, `${path}: ${status}`)
  }
  assert.equal((await api.get(`/v1/mailboxes?domain=${secret}`)).status, 200)
  assert.equal((await api.get('/v1/accounts', { headers: { 'user-agent': secret } })).status, 200)
  assert.equal((await api.put(`/v1/accounts/${secret}/password`, { password: secret })).status, 404)
  assert.equal((await api.delete(`/v1/domains/${domain}?expect=${secret}`)).status, 400)
})

test('repeats nothing of a request that is no HTTP', async () => {
  for (const start of ['GET /SECRET HTTP/9.9', 'SECRET', 'GET / HTTP/1.1\r\nSECRET']) {
    const { port, hostname } = new URL(service.url)
    const socket = connect(Number(port), hostname).setEncoding('utf8')
    let answer = ''
    socket.on('data', (text: string) => {
      answer += text
    })
    socket.write(`${start.replace('SECRET', newPassword())}\r\n\r\n`)
    await once(socket, 'close')
    assert.match(answer, /^HTTP\/1\.1 400 /)
    answers.push(answer)
  }
})

test('repeats no token, good or bad', async () => {
  const [header, , signature] = client.token.split('.')
  const bad = [
    newPassword(),
    `${client.token}x`,
    `${header}.${Buffer.from('{"iss":"https://issuer.example"}').toString('base64url')}.${signature}`,
    await service.token({ scopes: [] }),
    await service.token({ scopes: ['domains:read'], domains: [] }),
  ]
  for (const token of bad) {
    tokens.add(token)
    const reply = await api.post('/v1/accounts', {}, { headers: { authorization: `Bearer ${token}` } })
    assert.ok([401, 403].includes(reply.status), outcome(reply))
  }
  const basic = `Basic ${btoa(`admin:${newPassword()}`)}`
  tokens.add(basic.slice(6))
  assert.equal((await api.get('/v1/accounts', { headers: { authorization: basic } })).status, 401)
  assert.equal((await api.get(`/v1/accounts?access_token=${client.token}`)).status, 400)
})

test('checks a password and repeats it nowhere, right, wrong or too often', async () => {
  const password = newPassword()
  await api.post('/v1/accounts', { name: 'user9', password })
  const check = (name: string, text: string) =>
    api.post(`/v1/accounts/${name}/password/check`, { password: text })
  assert.deepEqual((await check('user9', password)).body, { valid: true })
  for (const name of ['user9', 'nobody']) {
    const checks = Array.from({ length: 6 }, () => check(name, newPassword()))
    const replies = await Promise.all(checks)
    assert.ok(replies.some((reply) => outcome(reply) === '429 too-many-requests'))
  }
})

test('repeats nothing of what the database complains about', async () => {
  await admin.query(
    `alter table app.verifiers add constraint verifiers_refused_check check (verifier not like '$argon2id$%') not valid`,
  )
  try {
    const replies = [
      await api.post('/v1/mailboxes', { address: `user8@${domain}`, password: newPassword() }),
      await api.post('/v1/accounts', { name: 'user8', password: newPassword() }),
      await api.put('/v1/accounts/user5/password', { password: newPassword() }),
    ]
    assert.deepEqual(replies.map(outcome), Array(3).fill('500 internal-error'))
    for (const { body } of replies) assert.equal(body.detail, undefined)
  } finally {
    await admin.query('alter table app.verifiers drop constraint verifiers_refused_check')
  }
  // The verifiers it refused were never stored; whatever has their form has no place in a log or an answer.
  assert.doesNotMatch(log.join(''), /\$argon2id\$|\d{4,},[A-Za-z0-9+/]{22}==,/)
})

test('aliases hold no secret, and the refusals of them repeat none', async () => {
  const address = `team@${domain}`
  const secret = newPassword()
  const made = await api.post('/v1/aliases', { address, targets: ['desk@partner.example'] })
  assert.equal(outcome(made), '201')
  for (const body of [
    { password: secret },
    { targets: [secret] },
    { send_as: secret },
    { targets: secret },
  ]) {
    const { status } = await api.patch(`/v1/aliases/${address}`, body)
    assert.ok(status >= 400 && status < 500, JSON.stringify(body))
  }
  assert.equal(outcome(await api.get('/v1/aliases')), '200')
  assert.equal(outcome(await api.get(`/v1/aliases/${address}`)), '200')
  assert.equal(outcome(await api.patch(`/v1/aliases/${address}`, { send_as: true })), '200')
  assert.equal(outcome(await api.delete(`/v1/aliases/${address}`)), '204')
})

test('every operation of the document was driven', () => {
  const undriven = operations.filter(({ operationId }) => !succeeded.has(operationId))
  assert.deepEqual(undriven, [])
})

test('no answer, no line of the log and no column holds a password, a verifier or a token', async () => {
  await collectVerifiers()
  assert.ok(passwords.size > 40 && verifiers.size > 15 && tokens.size > 5 && log.length > answers.length / 2)
  const signatures = [...tokens].map((token) => token.split('.').at(-1) ?? token)
  const secrets = [...passwords, ...verifiers, ...tokens, ...signatures].flatMap(spellings)
  const places = { answers, log, columns: await everyRow() }
  for (const [place, texts] of Object.entries(places)) {
    const all = texts.join('\n').toLowerCase()
    assert.deepEqual(
      secrets.filter((secret) => all.includes(secret.toLowerCase())),
      [],
      place,
    )
  }
})

/** As it is, and as it stands in JSON, in a URL and in base64. */
function spellings(secret: string): string[] {
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]
}

/** All that the schema holds, but for the one column that is made for verifiers. */
async function everyRow(): Promise<string[]> {
  const { rows: tables } = await admin.query<{ name: string; columns: string }>(`
    select c.table_name as name, string_agg(quote_ident(c.column_name), ', ') as columns
    from information_schema.columns as c join information_schema.tables as t using (table_schema, table_name)
    where c.table_schema = 'app' and t.table_type = 'BASE TABLE'
      and (c.table_name, c.column_name) <> ('verifiers', 'verifier')
    group by c.table_name`)
  assert.ok(tables.length >= 8)
  const contents = await Promise.all(
    tables.map(({ name, columns }) => admin.query(`select row(${columns})::text as text from app.${name}`)),
  )
  return contents.flatMap(({ rows }) => rows.map((row) => row.text))
}
