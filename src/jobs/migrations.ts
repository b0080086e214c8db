import { Logger, runMigrations } from 'graphile-worker'
import type pg from 'pg'
import { serviceRole } from '../roles.ts'

const quiet = new Logger(() => () => {})

/** Brings graphile-worker's schema up to date, as the owner of the database. */
export function migrateJobs(ownerUrl: string): Promise<void> {
  return runMigrations({ connectionString: ownerUrl, logger: quiet })
}

/**
 * Lets the service's role write and work off jobs without owning the tables: they have row level security and no
 * policies, which keeps everybody but the owner out.
 */
export async function grantJobs(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname = 'graphile_worker' and tablename like '\\_private\\_%'`,
  )
  await client.query(`
    grant usage on schema graphile_worker to ${serviceRole};
    grant select on graphile_worker.migrations to ${serviceRole};
    grant usage on all sequences in schema graphile_worker to ${serviceRole};
    revoke all on all functions in schema graphile_worker from public;
    grant execute on all functions in schema graphile_worker to ${serviceRole};
    grant select on all tables in schema graphile_worker to ${serviceRole};
    ${rows
      .map(
        ({ name }) => `
    grant select, insert, update, delete on ${name} to ${serviceRole};
    drop policy if exists mailwright_service on ${name};
    create policy mailwright_service on ${name} to ${serviceRole} using (true) with check (true);`,
      )
      .join('')}
  `)
}
