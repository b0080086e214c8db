import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { compare, type Part } from '../part.ts'
import { call } from '../support/api.ts'
import { finishImport, names, passwordHash, sendImport } from '../support/imports.ts'
import {
  type Installation,
  openInstallation,
  type Running,
  residentMegabytes,
} from '../support/installation.ts'
import { inTurns } from '../support/turns.ts'

const domain = 'example.jp'
const run = promisify(execFile)

/** Rows with a password hash into one domain, against what an administrator would write for psql. */
export const imports: Part = {
  name: 'imports',
  async run({ folder, scale, rounds }) {
    const rows = Math.ceil(100_000 * scale)
    const installation = await openInstallation(folder)
    try {
      const service = await installation.startService()
      await prepare(installation, service)
      const sides = [() => byService(installation, service, rows), () => byHand(installation, rows)]
      const [served, copied] = (await inTurns(Math.ceil(rounds / 2), sides)) as [number[], number[]]
      return [
        compare({
          measure: `import of ${rows} rows with password_hash, rows a second`,
          floor: 'psql \\copy into a staging table and one statement for each table, events included',
          unit: 'rows a second',
          sides: [
            ['import, from the first octet sent to completed', served],
            ['psql', copied],
          ],
          goal: { atLeast: 0.5 },
        }),
      ]
    } finally {
      await installation.close()
    }
  },
}

/** What more memory the service takes for many rows than for few. `ROWS` names another number than 300,000. */
export const importMemory: Part = {
  name: 'import-memory',
  async run({ folder, scale }) {
    const many = Math.ceil(Number(process.env.ROWS ?? 300_000) * scale)
    const installation = await openInstallation(folder)
    try {
      const service = await installation.startService()
      await prepare(installation, service)
      const few = await highest(installation, service, Math.ceil(10_000 * scale))
      const most = await highest(installation, service, many)
      return [
        {
          measure: `import: resident memory at ${many} rows more than at 10,000`,
          floor: '',
          figures: [
            { of: 'highest at 10,000 rows', unit: 'MB', rounds: [few] },
            { of: `highest at ${many} rows`, unit: 'MB', rounds: [most] },
          ],
          ratios: [most - few],
          unit: ' MB',
          goal: { atMost: 100 },
        },
      ]
    } finally {
      await installation.close()
    }
  },
}

function prepare({ token }: Installation, { url }: Running) {
  return call({ url, token }, 'POST', '/v1/domains', { name: domain })
}

async function byService({ token }: Installation, { url }: Running, rows: number): Promise<number> {
  const caller = { url, token }
  const began = performance.now()
  await finishImport(caller, await sendImport(caller, { domain, rows }), rows)
  return (rows / (performance.now() - began)) * 1000
}

async function highest({ token }: Installation, service: Running, rows: number): Promise<number> {
  const caller = { url: service.url, token }
  let most = 0
  const look = async () => {
    most = Math.max(most, await residentMegabytes(service))
  }
  await finishImport(caller, await sendImport(caller, { domain, rows }), rows, look)
  return most
}

const script = (file: string) => `
begin;
create temp table staging (name text, hash text) on commit drop;
\\copy staging from '${file}' with (format csv)
insert into app.addresses (name, domain, kind, holds_name) select name, '${domain}', 'mailbox', true from staging;
insert into app.accounts (name, authentication, mechanisms, foreign_scheme, external_id, password_set_at)
  select name, 'local', '{}', 'BLF-CRYPT', name, now() from staging;
insert into app.mailboxes (name, domain) select name, '${domain}' from staging;
insert into app.verifiers (name, mechanism, scheme, verifier) select name, 'ARGON2ID', 'BLF-CRYPT', hash from staging;
insert into app.audit_events (name, action, kind, object, domain, level, after, subject, issuer, request_id)
  select s.name, 'mailbox.create', 'mailbox', s.name || '@${domain}', '${domain}', 'info',
    jsonb_build_object('id', m.id, 'quota_bytes', m.quota_bytes, 'forward_to', m.forward_to, 'keep_copy', m.keep_copy,
      'delivery', m.delivery, 'hold', m.hold, 'account', jsonb_build_object('authentication', 'local', 'display_name', null,
      'external_id', s.name, 'password_set', true)),
    'psql', '', gen_random_uuid()::text
  from staging as s join app.mailboxes as m on m.name = s.name and m.domain = '${domain}';
commit;
`

async function byHand({ adminUrl, folder }: Installation, rows: number): Promise<number> {
  const csv = join(folder, 'staging.csv')
  const sql = join(folder, 'staging.sql')
  await writeFile(csv, [...names(rows)].map((name) => `${name},${passwordHash}\n`).join(''))
  await writeFile(sql, script(csv))
  const began = performance.now()
  await run('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', sql, adminUrl])
  return (rows / (performance.now() - began)) * 1000
}
