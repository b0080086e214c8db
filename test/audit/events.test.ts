import assert from 'node:assert/strict'
import { before, beforeEach, describe, test } from 'node:test'
import { purgeExpired } from '../../src/jobs/expired.ts'
import { type Client, outcome, type Reply } from '../support/client.ts'
import { startService } from '../support/service.ts'

const service = await startService()
let api: Client

interface Told {
  action: string
  object: string
  domain: string | null
  before: unknown
  after: unknown
}

/** What was written down since the last look, in order. */
async function newEvents(): Promise<(Told & Record<string, unknown>)[]> {
  const { rows } = await service.admin.query(
    'select * from app.audit_events where at > $1::timestamptz order by at, id',
    [seen],
  )
  await look()
  return rows
}
let seen = '-infinity'
async function look(): Promise<void> {
  const { rows } = await service.admin.query('select max(at)::text as at from app.audit_events')
  seen = rows[0].at ?? '-infinity'
}

const told = (events: Told[]) =>
  events.map(({ action, object, domain, before, after }) => ({ action, object, domain, before, after }))

before(async () => {
  api = await service.as()
  await api.patch('/v1/server', { scram_iterations: 4096 })
  for (const name of ['example.jp', 'elsewhere.jp']) await api.post('/v1/domains', { name })
})
beforeEach(look)

const secret = { generate_password: true }
const anyMoment = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** With a text in place of ids and moments, which are others each time. */
function leaveOut(value: unknown): unknown {
  if (typeof value === 'string' && anyMoment.test(value)) return 'a moment'
  if (typeof value === 'string' && /^[0-9a-f-]{36}$/.test(value)) return 'an id'
  if (Array.isArray(value)) return value.map(leaveOut)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, leaveOut(member)]))
}

const anna = 'anna@example.jp'
const period = { login_from: null, login_until: null }
const nowhere = { address: null }
const account = {
  authentication: 'local',
  display_name: 'Anna',
  external_id: null,
  ...period,
  password_set: true,
}
const fresh = {
  id: 'an id',
  quota_bytes: null,
  forward_to: [],
  keep_copy: true,
  delivery: 'accept',
  hold: false,
}
const gone = { state: 'deleted', purge_at: 'a moment' }
const live = { state: 'active', purge_at: null }
/** Of another domain an event does not tell the address. */
const left = { address: null, kept_as_alias: true }
const came = (domain: string) => ({ address: `bob@${domain}` })

/** One after the other; what each of them leaves behind is where the next begins. */
const writes: [string, () => Promise<Reply>, Told[]][] = [
  [
    'createMailbox',
    () => api.post('/v1/mailboxes', { address: anna, ...secret, account: { display_name: 'Anna' } }),
    [event('mailbox.create', anna, null, { ...fresh, account })],
  ],
  [
    'updateMailbox',
    () => api.patch(`/v1/mailboxes/${anna}`, { locked: true, quota_bytes: 5 }),
    [event('mailbox.update', anna, { locked: false, quota_bytes: null }, { locked: true, quota_bytes: 5 })],
  ],
  [
    'updateMailbox, of two members one',
    () => api.patch(`/v1/mailboxes/${anna}`, { locked: true, quota_bytes: null }),
    [event('mailbox.update', anna, { quota_bytes: 5 }, { quota_bytes: null })],
  ],
  ['updateMailbox to what it is', () => api.patch(`/v1/mailboxes/${anna}`, { locked: true }), []],
  ['updateMailbox with nothing', () => api.patch(`/v1/mailboxes/${anna}`, {}), []],
  [
    'ensureMailbox',
    () => api.put(`/v1/mailboxes/${anna}`, { quota_bytes: 7, account: { external_id: '1' } }),
    [
      event('account.update', 'anna', { external_id: null }, { external_id: '1' }),
      event('mailbox.update', anna, { quota_bytes: null }, { quota_bytes: 7 }),
    ],
  ],
  [
    'ensureMailbox as it is',
    () => api.put(`/v1/mailboxes/${anna}`, { quota_bytes: 7, account: { external_id: '1' } }),
    [],
  ],
  [
    'ensureMailbox of a new one',
    () => api.put('/v1/mailboxes/new@example.jp', secret),
    [
      event('mailbox.create', 'new@example.jp', null, {
        ...fresh,
        account: { ...account, display_name: null },
      }),
    ],
  ],
  [
    'updateAccount',
    () => api.patch('/v1/accounts/anna', { disabled: true }),
    [event('account.update', 'anna', { disabled: false }, { disabled: true })],
  ],
  ['updateAccount to what it is', () => api.patch('/v1/accounts/anna', { disabled: true }), []],
  [
    'setPassword',
    () => api.put('/v1/accounts/anna/password', secret),
    [event('account.set-password', 'anna', null, { password_set: true })],
  ],
  ['deleteMailbox', () => api.delete(`/v1/mailboxes/${anna}`), [event('mailbox.delete', anna, live, gone)]],
  [
    'restoreMailbox',
    () => api.post(`/v1/mailboxes/${anna}/restore`),
    [event('mailbox.restore', anna, gone, live)],
  ],
  ['restoreMailbox of a live one', () => api.post(`/v1/mailboxes/${anna}/restore`), []],
  [
    'deleteMailbox with its account',
    () => api.delete(`/v1/mailboxes/${anna}?account=delete`),
    [
      event(
        'mailbox.delete',
        anna,
        { ...live, account: { state: 'active' } },
        { ...gone, account: { state: 'deleted' } },
      ),
    ],
  ],
  [
    'restoreMailbox with its account',
    () => api.post(`/v1/mailboxes/${anna}/restore`),
    [
      event(
        'mailbox.restore',
        anna,
        { ...gone, account: { state: 'deleted' } },
        { ...live, account: { state: 'active' } },
      ),
    ],
  ],
  [
    'deleteMailbox for good',
    () => api.delete(`/v1/mailboxes/${anna}?account=delete&purge=true`),
    [
      event(
        'mailbox.purge',
        anna,
        {
          id: 'an id',
          state: 'active',
          locked: true,
          quota_bytes: 7,
          account: { authentication: 'local', display_name: 'Anna', external_id: '1' },
        },
        null,
      ),
    ],
  ],
  [
    'createAccount',
    () => api.post('/v1/accounts', { name: 'bob', ...secret }),
    [event('account.create', 'bob', null, { ...account, display_name: null }, null)],
  ],
  [
    'createMailbox on an account',
    () =>
      api.post('/v1/mailboxes', {
        address: 'bob@example.jp',
        create_account: false,
        account: { display_name: 'Bob' },
      }),
    [
      event('account.update', 'bob', { display_name: null }, { display_name: 'Bob' }, null),
      event('mailbox.create', 'bob@example.jp', null, fresh),
    ],
  ],
  [
    'updateMailbox, what becomes of its mail',
    () => api.patch('/v1/mailboxes/bob@example.jp', { hold: true, forward_to: ['new@example.jp'] }),
    [
      event(
        'mailbox.update',
        'bob@example.jp',
        { hold: false, forward_to: [] },
        { hold: true, forward_to: ['new@example.jp'] },
      ),
    ],
  ],
  [
    'renameMailbox',
    () => api.post('/v1/mailboxes/bob@example.jp/rename', { address: 'bob@elsewhere.jp' }),
    [
      event('mailbox.rename', 'bob@example.jp', { address: 'bob@example.jp' }, left),
      event('mailbox.rename', 'bob@elsewhere.jp', { address: null }, came('elsewhere.jp'), 'elsewhere.jp'),
    ],
  ],
  [
    'renameMailbox back',
    () => api.post('/v1/mailboxes/bob@elsewhere.jp/rename', { address: 'bob@example.jp' }),
    [
      event('alias.delete', 'bob@example.jp', { targets: ['bob@elsewhere.jp'] }, null),
      event('mailbox.rename', 'bob@elsewhere.jp', { address: 'bob@elsewhere.jp' }, left, 'elsewhere.jp'),
      event('mailbox.rename', 'bob@example.jp', { address: null }, came('example.jp')),
    ],
  ],
  [
    'createAlias',
    () => api.post('/v1/aliases', { address: 'team@example.jp', targets: ['bob@example.jp'] }),
    [event('alias.create', 'team@example.jp', null, { targets: ['bob@example.jp'], send_as: false })],
  ],
  [
    'updateAlias',
    () => api.patch('/v1/aliases/team@example.jp', { send_as: true }),
    [event('alias.update', 'team@example.jp', { send_as: false }, { send_as: true })],
  ],
  ['updateAlias to what it is', () => api.patch('/v1/aliases/team@example.jp', { send_as: true }), []],
  [
    'deleteAlias',
    () => api.delete('/v1/aliases/team@example.jp'),
    [
      event(
        'alias.delete',
        'team@example.jp',
        { targets: ['bob@example.jp'], send_as: true, holds_name: false },
        null,
      ),
    ],
  ],
  [
    'moveDomain',
    async () => {
      await service.admin.query(`insert into app.domains (name) values ('moved.jp'), ('beside.jp')`)
      await service.admin.query(`update app.domains set alias_of = 'moved.jp' where name = 'beside.jp'`)
      await service.admin.query(`insert into app.accounts (name, authentication) values ('mover', 'local')`)
      await service.admin.query(`insert into app.addresses values ('mover', 'moved.jp', 'mailbox', true)`)
      await service.admin.query(`insert into app.mailboxes (name, domain) values ('mover', 'moved.jp')`)
      await service.admin.query(`insert into app.addresses values ('desk', 'moved.jp', 'alias', false)`)
      await service.admin.query(
        `insert into app.aliases values ('desk', 'moved.jp', 'alias', '{mover@moved.jp}')`,
      )
      return api.post('/v1/domains/moved.jp/move', { to: 'elsewhere.jp' })
    },
    [
      event(
        'alias.update',
        'desk@moved.jp',
        { targets: ['mover@moved.jp'] },
        { targets: ['mover@elsewhere.jp'] },
        null, // its holders are not to learn where
      ),
      event('mailbox.rename', 'mover@moved.jp', { address: 'mover@moved.jp' }, left, 'moved.jp'),
      event(
        'mailbox.rename',
        'mover@elsewhere.jp',
        nowhere,
        { address: 'mover@elsewhere.jp' },
        'elsewhere.jp',
      ),
      event('alias.rename', 'desk@moved.jp', { address: 'desk@moved.jp' }, left, 'moved.jp'),
      event('alias.rename', 'desk@elsewhere.jp', nowhere, { address: 'desk@elsewhere.jp' }, 'elsewhere.jp'),
      event(
        'domain.update',
        'beside.jp',
        { alias_of: 'moved.jp' },
        { alias_of: 'elsewhere.jp' },
        'beside.jp',
      ),
      event(
        'domain.move',
        'moved.jp',
        { domain: 'moved.jp' },
        { kept_as_alias: true, mailboxes: 1, aliases: 1, to: 'elsewhere.jp', alias_domains: 1 },
        null,
      ),
      event('domain.move', 'moved.jp', {}, { kept_as_alias: true, mailboxes: 1, aliases: 1 }, 'moved.jp'),
      event('domain.move', 'elsewhere.jp', {}, { mailboxes: 1, aliases: 1 }, 'elsewhere.jp'),
    ],
  ],
  [
    'createToken',
    () => api.post('/v1/tokens', { label: 'A job', scopes: ['domains:read'], domains: ['example.jp'] }),
    [
      event('token.create', 'an id', null, {
        ...{ label: 'A job', scopes: ['domains:read'], domains: ['example.jp'], allowed_ips: null },
        ...{ password_delivery: 'any', expires_at: 'a moment', parent: null },
        limits: { deletes_per_day: null, locks_per_day: null, password_sets_per_day: null },
      }),
    ],
  ],
  [
    'revokeToken',
    async () => {
      const { body } = await api.get('/v1/tokens')
      return api.delete(`/v1/tokens/${body.items[0].id}`)
    },
    [event('token.revoke', 'an id', { state: 'active' }, { state: 'revoked' })],
  ],
  [
    'createDomain',
    () => api.post('/v1/domains', { name: 'other.jp', mail_server: 'mx.other.jp', mailbox_limit: null }),
    [event('domain.create', 'other.jp', null, { mail_server: 'mx.other.jp' }, 'other.jp')],
  ],
  [
    'updateDomain',
    () => api.patch('/v1/domains/other.jp', { locked: true, mail_server: 'mx.other.jp' }),
    [event('domain.update', 'other.jp', { locked: false }, { locked: true }, 'other.jp')],
  ],
  ['updateDomain to what it is', () => api.patch('/v1/domains/other.jp', { locked: true }), []],
  [
    'updateServer',
    () => api.patch('/v1/server', { pop3s_port: 2995 }),
    [event('server.update', '', { pop3s_port: null }, { pop3s_port: 2995 }, null)],
  ],
  ['updateServer to what it is', () => api.patch('/v1/server', { pop3s_port: 2995 }), []],
]

function event(
  action: string,
  object: string,
  before: object | null,
  after: object | null,
  domain: string | null = 'example.jp',
): Told {
  return { action, object, domain, before, after }
}

describe('each change is written down once, and what changes nothing is not', () => {
  for (const [name, write, expected] of writes) {
    test(name, async () => {
      const reply = await write()
      assert.ok(reply.status < 300, outcome(reply))
      const events = await newEvents()
      const byAction = (one: Told[]) => one.toSorted((a, b) => a.action.localeCompare(b.action))
      assert.deepEqual(leaveOut(byAction(told(events))), byAction(expected))
      for (const one of events) assert.equal(one.request_id, reply.headers.get('x-request-id'))
    })
  }

  test('deleteAccount', async () => {
    await api.post('/v1/accounts', { name: 'carl', ...secret })
    await look()
    await api.delete('/v1/accounts/carl')
    const had = { authentication: 'local', disabled: false, display_name: null, external_id: null }
    assert.deepEqual(told(await newEvents()), [event('account.delete', 'carl', had, null, null)])
  })
})

test('what changes with its domain has an event of its own, and the domain tells how many there were', async () => {
  await api.post('/v1/domains', { name: 'whole.jp' })
  for (const name of ['one', 'two']) {
    await api.post('/v1/mailboxes', { address: `${name}@whole.jp`, ...secret })
  }
  await look()
  const steps = [
    () => api.delete('/v1/domains/whole.jp?mailboxes=delete&expect=2&accounts=delete'),
    () => api.post('/v1/domains/whole.jp/restore'),
    () => api.delete('/v1/domains/whole.jp?mailboxes=delete&expect=2&purge=true'),
  ]
  for (const [i, verb] of ['delete', 'restore', 'purge'].entries()) {
    assert.ok((await steps[i]!()).status < 300)
    const events = await newEvents()
    assert.deepEqual(events.map(({ action, object, domain }) => `${action} ${object} ${domain}`).toSorted(), [
      `domain.${verb} whole.jp whole.jp`,
      `mailbox.${verb} one@whole.jp whole.jp`,
      `mailbox.${verb} two@whole.jp whole.jp`,
    ])
    const whole = events.find(({ object }) => object === 'whole.jp')!
    const { mailboxes, accounts } = (whole.after ?? whole.before) as Record<string, number>
    assert.deepEqual([mailboxes, accounts], [2, verb === 'purge' ? 0 : 2])
  }
})

/** How long the deletion and the restore of a domain of so many take. */
async function timeDomain(domain: string, size: number): Promise<number> {
  await api.post('/v1/domains', { name: domain })
  await service.admin.query(
    `with n as (select $1::text || i as name from generate_series(1, $2::integer) as i),
      a as (insert into app.accounts (name, authentication) select name, 'local' from n),
      x as (insert into app.addresses (name, domain, kind, holds_name) select name, $3, 'mailbox', true from n)
    insert into app.mailboxes (name, domain) select name, $3 from n`,
    [domain.split('.')[0], size, domain],
  )
  await service.admin.query('analyze app.mailboxes, app.accounts') // now it knows of no deleted one
  await look()
  const began = performance.now()
  await api.delete(`/v1/domains/${domain}?mailboxes=delete&expect=${size}&accounts=delete`)
  assert.equal((await api.post(`/v1/domains/${domain}/restore`)).status, 200)
  const ms = performance.now() - began
  assert.equal((await newEvents()).filter(({ action }) => action.startsWith('mailbox.')).length, 2 * size)
  return ms
}

test('a domain five times as large takes not much more than five times as long', async () => {
  const few: number[] = []
  const many: number[] = []
  for (const turn of ['first', 'second']) {
    few.push(await timeDomain(`few-${turn}.jp`, 4_000))
    many.push(await timeDomain(`many-${turn}.jp`, 20_000))
  }
  const ratio = Math.min(...many) / Math.min(...few) // the machine may have other things to do now and then
  assert.ok(ratio < 14, `${many} ms, and ${few} ms`) // each with each: 25 times
})

test("what is purged by the clock is nobody's doing, nor is the end of its domain", async () => {
  await api.post('/v1/domains', { name: 'late.jp' })
  await api.post('/v1/mailboxes', { address: 'late@late.jp', ...secret })
  await api.delete('/v1/domains/late.jp?mailboxes=delete&expect=1')
  await service.admin.query(`update app.mailboxes set purge_at = now() where domain = 'late.jp'`)
  await look()
  await purgeExpired(service.db)
  const events = await newEvents()
  assert.deepEqual(
    events.map(({ action, object }) => `${action} ${object}`),
    ['mailbox.purge late@late.jp', 'domain.purge late.jp'],
  )
  for (const { subject, issuer, token_id, address, request_id } of events) {
    assert.deepEqual([subject, issuer, token_id, address, request_id], [null, null, null, null, null])
  }
})

test('says who it was, with which token and from where', async () => {
  const hr = await service.as({ subject: 'hr-sync' })
  const reply = await hr.post('/v1/accounts', { name: 'dora', ...secret })
  const [event] = await newEvents()
  const { jti } = JSON.parse(String(Buffer.from(hr.token.split('.')[1]!, 'base64url')))
  assert.deepEqual(
    {
      subject: event?.subject,
      issuer: event?.issuer,
      token_id: event?.token_id,
      address: event?.address,
      request_id: event?.request_id,
    },
    {
      subject: 'hr-sync',
      issuer: service.keys.installation,
      token_id: jti,
      address: '127.0.0.1',
      request_id: reply.headers.get('x-request-id'),
    },
  )
})

test('where mail goes, is an alert', async () => {
  await api.post('/v1/domains', { name: 'alert.jp', mail_server: 'mx.alert.jp' })
  await api.patch('/v1/domains/alert.jp', { mail_server: null })
  await api.patch('/v1/domains/alert.jp', { locked: true })
  await api.patch('/v1/server', { mail_server: 'mx.example.jp' })
  await api.patch('/v1/server', { relay_networks: ['192.0.2.0/28'] })
  await api.patch('/v1/server', { imaps_port: 2993 })
  const levels = (await newEvents()).map(({ level }) => level)
  assert.deepEqual(levels, ['alert', 'alert', 'info', 'alert', 'alert', 'info'])
})

describe('writes nothing', () => {
  const refused: [string, () => Promise<Reply>, string][] = [
    [
      'of a name that is taken',
      () => api.post('/v1/mailboxes', { address: 'bob@example.jp', ...secret }),
      '409 mailbox-exists',
    ],
    ['of a domain that is there', () => api.post('/v1/domains', { name: 'example.jp' }), '409 domain-exists'],
    [
      'of another version',
      () => api.patch('/v1/mailboxes/bob@example.jp', { locked: true }, { headers: { 'if-match': '"x"' } }),
      '412 precondition-failed',
    ],
    [
      'of another version of a domain',
      () => api.patch('/v1/domains/example.jp', { locked: true }, { headers: { 'if-match': '"x"' } }),
      '412 precondition-failed',
    ],
    ['of a domain with mailboxes', () => api.delete('/v1/domains/example.jp'), '409 domain-not-empty'],
    ['of an account with a mailbox', () => api.delete('/v1/accounts/bob'), '409 account-has-mailbox'],
    ['of what is not there', () => api.delete('/v1/mailboxes/nobody@example.jp'), '404 mailbox-not-found'],
  ]
  for (const [name, write, expected] of refused) {
    test(name, async () => {
      assert.equal(outcome(await write()), expected)
      assert.deepEqual(await newEvents(), [])
    })
  }

  test('of a change that the database refuses at its end', async () => {
    await api.post('/v1/accounts', { name: 'emil', ...secret })
    await look()
    await service.admin.query(`
      create function public.refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$;
      create constraint trigger refuse after insert on app.audit_events deferrable initially deferred
        for each row when (new.name = 'emil') execute function public.refuse()`)
    try {
      assert.equal((await api.patch('/v1/accounts/emil', { disabled: true })).status, 500)
      assert.equal((await api.put('/v1/accounts/emil/password', secret)).status, 500)
      assert.equal((await api.delete('/v1/accounts/emil')).status, 500)
      const { body } = await api.get('/v1/accounts/emil')
      assert.equal(body.disabled, false)
    } finally {
      await service.admin.query('drop trigger refuse on app.audit_events; drop function public.refuse()')
    }
    assert.deepEqual(await newEvents(), [])
  })

  test('for an answer that is given again', async () => {
    const headers = { 'idempotency-key': 'again' }
    const body = { address: 'frida@example.jp', generate_password: true }
    for (const expected of [1, 0]) {
      assert.equal((await api.post('/v1/mailboxes', body, { headers })).status, 201)
      assert.equal((await newEvents()).length, expected)
    }
  })
})

test('the service can add to it and read it, and do nothing else', async () => {
  const run = (text: string) =>
    service.db.executeQuery({ sql: text, parameters: [], query: {} as never, queryId: {} as never })
  await run('select count(*) from app.audit_events')
  for (const forbidden of [
    `update app.audit_events set subject = 'nobody'`,
    'delete from app.audit_events',
    'truncate app.audit_events',
    'select * from app.audit_events for update',
    'alter table app.audit_events disable row level security',
    'drop table app.audit_events',
  ]) {
    await assert.rejects(run(forbidden), { code: '42501' }, forbidden)
  }
})
