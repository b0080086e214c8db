import { assertMayTakeName, type PersonMembers, parsePersonMembers } from '../accounts/create.ts'
import { assertMayDeliver, refusePassword } from '../accounts/new-password.ts'
import { parsePasswordHash } from '../accounts/password-hash.ts'
import type { Verifier } from '../accounts/verifiers.ts'
import { mayTouch, requireScope } from '../auth.ts'
import { type Address, lookUpAddress, parseAddress } from '../mailboxes/address.ts'
import { type MailboxRequest, readMailboxRequest } from '../mailboxes/create.ts'
import type { MailboxEnsure } from '../mailboxes/create-schemas.ts'
import { unknownDomain } from '../mailboxes/ground.ts'
import { assertMayLift, type MailboxValues, parseMailboxValues } from '../mailboxes/values.ts'
import { problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import type { ReadRow } from './sent-rows.ts'

/** What a row is to do: parsed, and allowed by the scopes of whoever sent it. */
export type Task =
  | { kind: 'make'; again: boolean; request: MailboxRequest }
  | { kind: 'set'; address: Address; values: MailboxValues; person: PersonMembers }
  | { kind: 'delete' | 'restore'; address: Address }
  | { kind: 'rename'; address: Address; to: Address; keepOld: boolean }

/** Judges everything that needs no look-up, as the single calls do and with their parsers. */
export function readTask(subject: Subject, row: ReadRow): Task {
  requireScope(subject, 'mailboxes:write')
  const { operation, content } = row
  if (operation === 'create' || operation === 'ensure') return readMaking(subject, row)
  const address = lookUpAddress(row.address)
  if (operation === 'delete' || operation === 'restore') return { kind: operation, address }
  if (operation === 'rename') return readRename(subject, address, content)
  const { locked = operation === 'lock', quota_bytes, display_name, external_id, account } = content
  const values =
    operation === 'set'
      ? parseMailboxValues({
          ...(content.locked !== undefined && { locked }),
          ...(quota_bytes !== undefined && { quota_bytes }),
        })
      : { locked }
  const person = parsePersonMembers(withoutUndefined({ display_name, external_id, ...account }), '')
  return { kind: 'set', address, values, person }
}

function readRename(subject: Subject, address: Address, content: ReadRow['content']): Task {
  const to = parseAddress(content.new_address!, '/new_address')
  if (!mayTouch(subject, to.domain)) throw unknownDomain('/new_address')
  assertMayTakeName(subject, to.name, content.allow_role_name, '/new_address')
  const keepOld = content.keep_old_as_alias ?? true
  if (!keepOld) requireScope(subject, 'mailboxes:purge')
  return { kind: 'rename', address, to, keepOld }
}

function readMaking(subject: Subject, row: ReadRow): Task {
  const { content, secrets: { password, password_hash } = {}, operation } = row
  const { display_name, external_id, login_from, login_until, account, ...members } = content
  const person = withoutUndefined({ display_name, external_id, login_from, login_until, ...account })
  const body = { ...members, account: person, ...(password !== undefined && { password }) } as MailboxEnsure
  const request = readMailboxRequest(subject, parseAddress(row.address), body)
  if (operation === 'ensure') assertMayLift(subject, request.values)
  if (password_hash === undefined) return { kind: 'make', again: operation === 'ensure', request }
  // whoever brings a hash may know the password
  assertMayDeliver(subject, { password: password_hash })
  const detail = 'Send password_hash by itself.'
  refusePassword(body, detail)
  if (body.create_account === false) throw problemAt('password-not-accepted', '/password_hash', keeps)
  const verifiers = parsePasswordHash(password_hash)
  return { kind: 'make', again: operation === 'ensure', request: withVerifiers(request, verifiers) }
}

const keeps = 'Without create_account: true the account must exist already, and it keeps its password.'

/** With a password that needs no derivation any more. */
export function withVerifiers(request: MailboxRequest, verifiers: Verifier[]): MailboxRequest {
  return { ...request, password: { text: '', generated: true, verifiers } }
}

function withoutUndefined<T extends object>(members: T) {
  const given = Object.entries(members).filter(([, value]) => value !== undefined)
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> }
}
