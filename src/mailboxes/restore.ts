import { type RawBuilder, sql } from 'kysely'
import type { Tx } from '../database.ts'
import { type DomainRow, domainDeleted, findDomainForUpdate } from '../domains/store.ts'
import { requireVersion } from '../etag.ts'
import { problem } from '../problems.ts'
import { restoreEvents } from './events.ts'
import { assertRoom } from './insert.ts'
import { anyState, getMailbox, lockMailbox, type MailboxTarget } from './store.ts'
import type { MailboxRow } from './view.ts'

/**
 * Makes a deleted mailbox live again, with its account where that went along; a live one stays as it is, so that a
 * restore can be repeated. The domain is held first, as for a create, so that its state and its limit stay true.
 */
export async function restoreMailbox(tx: Tx, target: MailboxTarget): Promise<MailboxRow> {
  const { domain: domainName } = await getMailbox(tx, target, anyState)
  const domain = await findDomainForUpdate(tx, domainName, anyState)
  // only there: whatever moves it to another domain was done before this one was held
  const before = domain && (await lockMailbox(tx, { ...target, visible: [domainName] }, anyState))
  if (!before) throw problem('mailbox-not-found')
  requireVersion(target.precondition, before.version)
  if (before.state === 'deleted') {
    await assertRestorable(tx, domain)
    await restoreMailboxes(tx, sql`m.name = ${before.name}`)
  }
  return getMailbox(tx, target)
}

async function assertRestorable(tx: Tx, domain: DomainRow): Promise<void> {
  if (domain.state === 'deleted') throw domainDeleted(domain.name, domain.purge_at)
  await assertRoom(tx, domain)
}

/** Of the deleted mailboxes (m) that fit, in one statement. A deleted account is one that went along with its mailbox. */
export async function restoreMailboxes(
  tx: Tx,
  which: RawBuilder<unknown>,
): Promise<{ mailboxes: number; accounts: number }> {
  const { rows } = await sql<{ mailboxes: number; accounts: number }>`
    with m as (
      update app.mailboxes as m
      set state = 'active', deleted_with_domain = false, purge_at = null, version = gen_random_uuid(),
        updated_at = now()
      from app.mailboxes as was
      where m.state = 'deleted' and ${which} and was.name = m.name
      returning m.name, m.domain, was.purge_at as was_purge_at
    ), a as (
      update app.accounts as a
      set state = 'active', version = gen_random_uuid(), updated_at = now()
      from m
      where a.name = m.name and a.state = 'deleted'
      returning a.name
    ), event as (${restoreEvents()})
    select (select count(*) from m) as mailboxes, (select count(*) from a) as accounts`.execute(tx)
  return rows[0]!
}
