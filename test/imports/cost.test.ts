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
const rows = 4000
const together = 1000

const { rows: privileged } = await service.admin.query(
  'select from pg_roles where rolname = current_user and rolsuper',
)
const skip = privileged.length === 0 && 'only a superuser may load auto_explain'

let api: Client

const file = (operation: string, domain: string, members: object = {}) =>
  ndjson(
    Array.from({ length: rows }, (_, i) => ({
      operation,
      address: `${domain[0]}${i}@${domain}`,
      ...members,
    })),
  )

before(async () => {
  if (skip) return
  await explainAll(service.admin)
  poolOf(service.db).on('connect', (client) => collectPlans(client, plans))
  api = await service.as()
  for (const name of ['before.jp', 'example.jp']) await api.post('/v1/domains', { name })
  // of whose rows the statistics will be
  await importFile(api, file('create', 'before.jp', { no_password: true }))
  await service.admin.query('analyze app.import_rows, app.mailboxes, app.accounts, app.addresses')
})

describe('a unit of rows looks at so many rows', { skip }, () => {
  const files: [what: string, () => string, query: string, counted: string][] = [
    ['only tried', () => file('create', 'example.jp', { no_password: true }), '?dry_run=true', 'created'],
    ['created', () => file('create', 'example.jp', { no_password: true }), '', 'created'],
    ['there already', () => file('ensure', 'example.jp', { no_password: true }), '', 'unchanged'],
    ['refused', () => file('create', 'example.jp', { no_password: true }), '', 'failed'],
    ['changed', () => file('lock', 'example.jp'), '', 'updated'],
    ['deleted', () => file('delete', 'example.jp'), '', 'deleted'],
    [
      'stopped at the first row',
      () => file('create', 'nowhere.jp', { no_password: true }),
      '?on_error=stop',
      'failed',
    ],
  ]
  for (const [what, content, query, counted] of files) {
    test(what, async (t) => {
      plans.length = 0
      const { counts } = await importFile(api, content(), query)
      assert.ok(counts[counted] > 0, JSON.stringify(counts))
      const most = plans.toSorted((a, b) => b.rows - a.rows)[0]
      t.diagnostic(`${most?.rows} rows`)
      // those of a stopped one are cleared by more at once than are done at once
      assert.ok(most && most.rows <= Math.max(rows, 2 * together), `${most?.text}\n${most?.outline}`)
    })
  }
})
