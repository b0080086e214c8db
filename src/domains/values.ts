import { assertAvailable } from '../accounts/authentication.ts'
import { inOrder } from '../accounts/verifiers.ts'
import { requireAllDomains, requireScope } from '../auth.ts'
import type { Db } from '../database.ts'
import { assertMayForwardTo, lookUpForwardingRules } from '../forwarding.ts'
import { parseDestination } from '../mailboxes/address.ts'
import type { Subject } from '../subject.ts'
import { parseHostName } from './host-name.ts'
import { type DomainName, parseDomainName } from './name.ts'
import type { DomainUpdate } from './schemas.ts'

type ParsedDomainValues = Omit<DomainUpdate, 'alias_of'> & { alias_of?: DomainName | null }

/** What a caller who is limited to some domains may change of them. */
const delegable = new Set(['locked', 'postmaster_address'])

/** Parses the settable members of a domain and checks what the caller needs to set them; null is "the default". */
export function parseDomainValues(subject: Subject, body: DomainUpdate): ParsedDomainValues {
  if (body.mail_server !== undefined) requireScope(subject, 'mailflow:write')
  if (Object.keys(body).some((member) => !delegable.has(member))) requireAllDomains(subject)
  assertAvailable(body.authentication)
  const { alias_of, ...members } = body
  return {
    ...members,
    ...(alias_of !== undefined && {
      alias_of: alias_of === null ? null : parseDomainName(alias_of, '/alias_of'),
    }),
    ...(body.secure_password_mechanisms && {
      secure_password_mechanisms: inOrder(body.secure_password_mechanisms),
    }),
    ...(typeof body.mail_server === 'string' && {
      mail_server: parseHostName(body.mail_server, '/mail_server'),
    }),
    ...(typeof body.postmaster_address === 'string' && {
      postmaster_address: parseDestination(body.postmaster_address, '/postmaster_address'),
    }),
  }
}

/** To a caller limited to some domains, postmaster's mail sent outside of them is forwarding like any other. */
export async function assertMayPostmaster(
  db: Db,
  subject: Subject,
  address: string | null | undefined,
): Promise<void> {
  if (!address || subject.domains === '*') return
  const rules = await lookUpForwardingRules(db, subject, [address])
  assertMayForwardTo(subject, rules, address, '/postmaster_address')
}
