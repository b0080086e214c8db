import type { Sealed } from '../accounts/sealed-password.ts'
import type { Db, Tx } from '../database.ts'
import type { Writer } from '../idempotency/once.ts'
import type { Subject } from '../subject.ts'
import { draw, isLimited } from '../tokens/fuses.ts'
import { insertMailbox, insertWithinLimit, type NewMailbox } from './insert.ts'
import { holdTargets, withForwarded } from './sending-on.ts'
import type { MailboxRow } from './view.ts'

/** What a create shows besides the mailbox itself goes with its row. */
export type CreatedMailbox = MailboxRow & Sealed

/** What to write, and whether the domain is known to have a limit, which is kept in another way. */
export interface Attempt {
  mailbox: NewMailbox
  limited: boolean
  sealed: Sealed
}

/**
 * undefined where the domain is not there (any more), or has a limit that was not known, or the account to link is not
 * there. Rejects where the name is taken: see `isCollision`.
 */
export function writeMailbox<Made>(
  { subject, writer }: { subject: Subject; writer: Writer<CreatedMailbox, Made> },
  { mailbox: judged, limited, sealed }: Attempt,
): Promise<Made | undefined> {
  const sendsOn = (judged.values.forward_to ?? []).length > 0
  const write = async (to: Db) => {
    const mailbox = sendsOn ? await judgedAgain(to as Tx, subject, judged) : judged
    const row = limited ? await insertWithinLimit(to as Tx, mailbox) : await insertMailbox(to, mailbox)
    if (row && mayShut(mailbox)) await draw(to, 'locks', 1)
    return row && { ...row, ...sealed }
  }
  const counts = mayShut(judged) && isLimited('locks')
  return limited || counts || sendsOn ? writer.transaction(write) : writer.statement(write)
}

/** Hashing took a while since it was judged first. */
async function judgedAgain(tx: Tx, subject: Subject, mailbox: NewMailbox): Promise<NewMailbox> {
  await holdTargets(tx, mailbox.values)
  return { ...mailbox, values: await withForwarded(tx, subject, mailbox.values) }
}

/** Whether an account that exists gets a time outside of which it cannot log in. */
function mayShut({ account, person }: NewMailbox): boolean {
  return 'linked' in account && Boolean(person.login_from ?? person.login_until)
}

/** The constraints that a create can lose a race by. */
const collisions = new Set([
  'addresses_pkey',
  'addresses_name_key',
  'mailboxes_pkey',
  'accounts_pkey',
  'mailboxes_account_fkey',
])

export function isCollision({ constraint }: { constraint?: string }): boolean {
  return collisions.has(constraint ?? '')
}
