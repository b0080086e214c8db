import { type Selectable, sql, type Updateable } from 'kysely'
import { recordChange } from '../audit/record.ts'
import type { Database, Db, Tx } from '../database.ts'
import { dropUnlistedVerifiers } from '../domains/mechanisms.ts'
import { type Precondition, requireVersion } from '../etag.ts'
import { sameMembers } from '../merge-patch.ts'
import type { Server } from './schemas.ts'
import type { Statistics } from './statistics.ts'

const columns = [
  'mail_server',
  'pop3s_port',
  'imaps_port',
  'submission_port',
  'relay_networks',
  'postmaster_address',
  'authentication',
  'create_account_default',
  'secure_password_mechanisms',
  'require_secure_password',
  'scram_iterations',
  'local_name_max_length',
  'password_min_length',
  'default_quota_bytes',
  'deleted_retention_days',
  'forward_allowed_domains',
  'tokens_not_before',
  'version',
  'updated_at',
] as const

export type SettingsRow = Pick<Selectable<Database['settings']>, (typeof columns)[number]>

export function toServer({ version: _, ...row }: SettingsRow, statistics: Statistics): Server {
  return { ...withUsualPorts(row), mail_server: row.mail_server ?? 'localhost', statistics }
}

const usualPorts = { pop3s_port: 995, imaps_port: 993, submission_port: 587 }

/** As clients see them: null, where it stands for a port, is the usual one. */
function withUsualPorts<T extends object>(members: T) {
  const ports = Object.entries(usualPorts).filter(([port]) => members[port as keyof T] === null)
  return { ...members, ...Object.fromEntries(ports) } as T & { [P in keyof typeof usualPorts]: number }
}

export function getSettings(db: Db): Promise<SettingsRow> {
  return db.selectFrom('settings').select(columns).executeTakeFirstOrThrow()
}

export interface SettingsChange {
  changes: Updateable<Database['settings']>
  precondition: Precondition
}

export async function updateSettings(
  tx: Tx,
  { changes, precondition }: SettingsChange,
): Promise<SettingsRow> {
  const before = await tx.selectFrom('settings').select(columns).forUpdate().executeTakeFirstOrThrow()
  requireVersion(precondition, before.version)
  if (sameMembers(withUsualPorts(before), withUsualPorts(changes))) return before
  const after = await tx
    .updateTable('settings')
    .set({ ...changes, version: sql`gen_random_uuid()`, updated_at: sql`now()` })
    .returning(columns)
    .executeTakeFirstOrThrow()
  await recordChange(tx, { action: 'server.update', object: '', domain: null, before, after })
  const listed = after.secure_password_mechanisms
  if (before.secure_password_mechanisms.some((one) => !listed.includes(one))) {
    await waitForAccountWrites(tx)
    await dropUnlistedVerifiers(tx, null)
  }
  return after
}

/** Writes that run already may go by the old list; those that come later wait until the new one is committed. */
async function waitForAccountWrites(tx: Tx): Promise<void> {
  await sql`lock table app.accounts in exclusive mode`.execute(tx)
}

/**
 * Binds the database to the installation whose key signs its tokens, and gives `mail_server` its first value.
 * Returns the installation the database belongs to.
 */
export async function claimInstallation(db: Db, installation: string, mailServer: string): Promise<string> {
  await db
    .updateTable('settings')
    .set({
      installation: sql`coalesce(installation, ${installation})`,
      mail_server: sql`coalesce(mail_server, ${mailServer})`,
    })
    .where((eb) => eb.or([eb('installation', 'is', null), eb('mail_server', 'is', null)]))
    .execute()
  const row = await db.selectFrom('settings').select('installation').executeTakeFirstOrThrow()
  return row.installation ?? ''
}
