import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
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
      address: `${domain[0]}${i}@${domain}`,
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
  for (const name of ['one.jp', 'many.jp']) await api.post('/v1/domains', { name })
})

const statistics: [known: string, domain: string, always: boolean][] = [
  ['last analyzed when there was one mailbox', 'one.jp', false],
  ['analyzed before each import', 'many.jp', true],
]

for (const [known, domain, always] of statistics) {
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
    for (const [what, content, query, counted] of files) {
      test(what, async (t) => {
        if (always) await analyze()
        plans.length = 0
        const { counts } = await importFile(api, content(), query)
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
