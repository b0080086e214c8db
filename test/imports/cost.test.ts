import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { poolOf } from '../../src/database.ts'
import type { Client } from '../support/client.ts'
import { importFile, ndjson } from '../support/imports.ts'
import { collectPlans, explainAll, type RunPlan } from '../support/plans.ts'
import { startService } from '../support/service.ts'

// What a row of an import costs must not grow with the file, whatever Postgres knows of the imports before.

const service = await startService({ jobs: { dataDir: '/nonexistent' } })
const plans: RunPlan[] = []
const rows = 3000
const together = 1000

const { rows: privileged } = await service.admin.query(
  'select from pg_roles where rolname = current_user and rolsuper',
)
const skip = privileged.length === 0 && 'only a superuser may load auto_explain'

let api: Client

const file = (operation: string, domain: string, members: object = {}, count = rows) =>
  ndjson(
    Array.from({ length: count }, (_, i) => ({
      operation,
      address: `${domain.replaceAll('.', '')}${i}@${domain}`,
      ...members,
    })),
  )

const tables = ['settings', 'domains', 'addresses', 'accounts', 'mailboxes', 'audit_events', 'import_rows']
const analyze = () => service.admin.query(`analyze ${tables.map((table) => `app.${table}`).join()}`)

before(async () => {
  if (skip) return
  await explainAll(service.admin)
  poolOf(service.db).on('connect', (client) => collectPlans(client, plans))
  api = await service.as()
  for (const [, name] of statistics)
    for (const domain of [name, `${name}.example`]) await api.post('/v1/domains', { name: domain })
})

const temporary = { no_password: true, account: { login_until: '2097-01-01T00:00:00Z' } }

type Moment = 'once' | 'before each' | 'all the while'
const statistics: [known: string, domain: string, analyzed: Moment][] = [
  ['last analyzed when there was one mailbox', 'one.jp', 'once'],
  ['analyzed before each import', 'many.jp', 'before each'],
  ['analyzed again and again while it runs', 'any.jp', 'all the while'],
]

/** Analyzes until it has ended. */
async function analyzing<T>(work: Promise<T>): Promise<T> {
  let going = true
  const ended = work.finally(() => {
    going = false
  })
  ended.catch(() => {})
  while (going) {
    await analyze()
    await sleep(50)
  }
  return ended
}

for (const [known, domain, analyzed] of statistics) {
  describe(`a unit of rows looks at so many rows, ${known}`, { skip }, () => {
    before(async () => {
      await importFile(api, file('create', domain, { no_password: true }, 1))
      await analyze()
      await service.admin.query(
        `insert into app.domains (name) select 'd' || i || '.${domain}' from generate_series(1, 500) as i`,
      )
    })
    const created = () => file('create', domain, { no_password: true })
    const files: [what: string, () => string, query: string, counted: string][] = [
      ['only tried', created, '?dry_run=true', 'created'],
      ['created', created, '', 'created'],
      ['there already', () => file('ensure', domain, { no_password: true }), '', 'unchanged'],
      ['refused', created, '', 'failed'],
      ['changed', () => file('lock', domain), '', 'updated'],
      ['deleted', () => file('delete', domain), '', 'deleted'],
      [
        'stopped at the first row',
        () => file('create', 'nowhere.jp', { no_password: true }),
        '?on_error=stop',
        'failed',
      ],
    ]
    // once is enough: the queue is the same, and it takes as long as all the others
    if (analyzed === 'once')
      files.push(['created for a time', () => file('create', `${domain}.example`, temporary), '', 'created'])
    for (const [what, content, query, counted] of files) {
      test(what, async (t) => {
        if (analyzed === 'before each') await analyze()
        plans.length = 0
        const imported = importFile(api, content(), query)
        const { counts } = await (analyzed === 'all the while' ? analyzing(imported) : imported)
        assert.ok(counts[counted] > 0, JSON.stringify(counts))
        // what is left of them is cleared by more at once than are done at once
        const done = plans.filter(({ text }) => !text.includes('cleared as ('))
        const most = done.toSorted((a, b) => b.rows - a.rows)[0]
        t.diagnostic(`${most?.rows} rows`)
        assert.ok(most && most.rows <= together, `${most?.text}\n${most?.outline}`)
      })
    }
  })
}
