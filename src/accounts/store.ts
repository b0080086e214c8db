import { sql, type Updateable } from 'kysely'
import { recordChange, recordEvent } from '../audit/record.ts'
import type { Database, Db, Tx } from '../database.ts'
import { meets, type Precondition } from '../etag.ts'
import { endLogins, endSessions } from '../jobs/queue.ts'
import { sameMembers } from '../merge-patch.ts'
import { problem } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { draw } from '../tokens/fuses.ts'
import type { AccountName } from './name.ts'
import type { Account } from './schemas.ts'

const passwordScheme = sql<Account['password_scheme']>`
  case when accounts.password_set_at is not null then coalesce(accounts.foreign_scheme, 'ARGON2ID') end`.as(
  'password_scheme',
)

const columns = [
  'accounts.name',
  'accounts.authentication',
  'accounts.disabled',
  'accounts.login_from',
  'accounts.login_until',
  'accounts.display_name',
  'accounts.external_id',
  'accounts.password_set_at',
  passwordScheme,
  'accounts.version',
  'accounts.created_at',
  'accounts.updated_at',
] as const

export type AccountRow = Account & { version: string }

export function toAccount({ version: _, ...account }: AccountRow): Account {
  return account
}

/** Accounts with the address of their active mailbox. To a limited caller an account without one of its own does not exist. */
export function visibleAccounts(db: Db, visible: Subject['domains']) {
  const query = db
    .selectFrom('accounts')
    .leftJoin('mailboxes', (join) =>
      join.onRef('mailboxes.name', '=', 'accounts.name').on('mailboxes.state', '=', 'active'),
    )
    .select(columns)
    .select(sql<string | null>`mailboxes.name || '@' || mailboxes.domain`.as('mailbox'))
    .where('accounts.state', '=', 'active')
  return visible === '*' ? query : query.where('mailboxes.domain', '=', sql<never>`any(${visible}::text[])`)
}

export function getAccount(db: Db, name: AccountName, visible: Subject['domains']): Promise<AccountRow> {
  return visibleAccounts(db, visible)
    .where('accounts.name', '=', name)
    .executeTakeFirstOrThrow(() => problem('account-not-found'))
}

/** Of the mailbox that it has, if any. */
export function domainOf({ mailbox }: Pick<AccountRow, 'mailbox'>): string | null {
  return mailbox?.split('@')[1] ?? null
}

export interface AccountChange {
  name: AccountName
  visible: Subject['domains']
  changes: Pick<
    Updateable<Database['accounts']>,
    'disabled' | 'display_name' | 'external_id' | 'login_from' | 'login_until'
  >
  precondition: Precondition
}

export async function updateAccount(
  tx: Tx,
  { name, visible, changes, precondition }: AccountChange,
): Promise<AccountRow> {
  const before = await lockAccount(tx, name, visible, precondition)
  if (sameMembers(before, changes)) return before
  const after = await tx
    .updateTable('accounts')
    .set({ ...changes, version: sql`gen_random_uuid()`, updated_at: sql`now()` })
    .where('name', '=', name)
    .returning(columns)
    .executeTakeFirstOrThrow()
  const now = { ...after, mailbox: before.mailbox }
  await recordChange(tx, {
    action: 'account.update',
    object: name,
    domain: domainOf(before),
    before,
    after: now,
  })
  if (after.disabled && !before.disabled && before.mailbox !== null) await endSessions(tx, before.mailbox)
  if (!sameMembers(before, { login_until: after.login_until })) await endLogins(tx, name, after.login_until)
  if (isShut(before, after)) await draw(tx, 'locks', 1)
  return now
}

type Open = Pick<AccountRow, 'disabled' | 'login_from' | 'login_until'>

/** Whether there is a time in which it could log in before and cannot any more. */
function isShut(before: Open, after: Open): boolean {
  const from = ({ login_from }: Open) => login_from?.getTime() ?? Number.NEGATIVE_INFINITY
  const until = ({ login_until }: Open) => login_until?.getTime() ?? Number.POSITIVE_INFINITY
  return (after.disabled && !before.disabled) || from(after) > from(before) || until(after) < until(before)
}

/** Holds the account until the transaction ends. */
export async function lockAccount(
  tx: Tx,
  name: AccountName,
  visible: Subject['domains'],
  precondition: Precondition,
) {
  if (visible !== '*') await getAccount(tx, name, visible) // a wait would tell that somebody else's is there
  await tx
    .selectFrom('accounts')
    .select('name')
    .where('name', '=', name)
    .forUpdate()
    .executeTakeFirstOrThrow(() => problem('account-not-found')) // also one deleted while waiting, if made anew
  const account = await getAccount(tx, name, visible)
  if (!meets(precondition, account.version)) throw problem('precondition-failed')
  return account
}

/** mailboxes_account_fkey, checked at commit, refuses it where a mailbox was linked meanwhile. */
export async function deleteAccount(tx: Tx, { name, visible, precondition }: Omit<AccountChange, 'changes'>) {
  const { authentication, disabled, display_name, external_id } = await lockAccount(
    tx,
    name,
    visible,
    precondition,
  )
  const { numDeletedRows } = await tx
    .deleteFrom('accounts')
    .where('name', '=', name)
    .where((eb) => eb.not(eb.exists(eb.selectFrom('mailboxes').select('name').where('name', '=', name))))
    .executeTakeFirst()
  if (numDeletedRows === 0n) throw problem('account-has-mailbox')
  const before = { authentication, disabled, display_name, external_id }
  await recordEvent(tx, { action: 'account.delete', object: name, domain: null, before })
  await draw(tx, 'deletes', 1)
}
