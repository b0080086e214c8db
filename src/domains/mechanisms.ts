import { sql } from 'kysely'
import { allowLongStatements, type Tx } from '../database.ts'
import { sameMembers } from '../merge-patch.ts'
import type { DomainName } from './name.ts'
import type { DomainRow } from './store.ts'

// The server's list may be the shorter one, so a switch between the two counts as a removal too.
export function removesMechanism(before: DomainRow, after: DomainRow): boolean {
  const { secure_password_mechanisms: old } = before
  const { secure_password_mechanisms: now } = after
  return (
    !sameMembers({ old }, { old: now }) &&
    (old === null || now === null || old.some((one) => !now.includes(one)))
  )
}

export async function dropUnlistedVerifiers(tx: Tx, domain: DomainName | null): Promise<void> {
  await allowLongStatements(tx)
  await sql`select app.drop_unlisted_verifiers(${domain})`.execute(tx)
}
