import { sql } from 'kysely'
import { recordEvent } from '../audit/record.ts'
import { allowLongStatements, type Tx } from '../database.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { restoreMailboxes } from '../mailboxes/restore.ts'
import type { DomainName } from './name.ts'
import { getDomain, lockDomain } from './store.ts'

export interface DomainRestore {
  name: DomainName
  precondition: Precondition
}

/**
 * Makes a deleted domain live again with the mailboxes that went with it; a live one stays as it is, so that a restore
 * can be repeated. The limit is not asked: these are mailboxes that the domain had, and nothing came to it since.
 */
export async function restoreDomain(tx: Tx, { name, precondition }: DomainRestore) {
  await allowLongStatements(tx)
  const { state, version, purge_at } = await lockDomain(tx, name, ['active', 'deleted'])
  requireVersion(precondition, version)
  if (state === 'deleted') await setActive(tx, name, purge_at)
  return getDomain(tx, name)
}

/** Set-based at any size. */
async function setActive(tx: Tx, name: DomainName, purge_at: Date | null): Promise<void> {
  const counts = await restoreMailboxes(tx, sql`m.domain = ${name} and m.deleted_with_domain`)
  await sql`
    update app.domains
    set state = 'active', purge_at = null, version = gen_random_uuid(), updated_at = now()
    where name = ${name}`.execute(tx)
  const [before, after] = [
    { state: 'deleted', purge_at },
    { state: 'active', purge_at: null, ...counts },
  ]
  await recordEvent(tx, { action: 'domain.restore', object: name, domain: name, before, after })
}
