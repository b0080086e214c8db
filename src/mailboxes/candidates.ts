import { assertMayTakeName, type PersonMembers, parsePersonMembers } from '../accounts/create.ts'
import { parseName } from '../accounts/name.ts'
import { assertMayDeliver, type NewPassword, readFirstPassword } from '../accounts/new-password.ts'
import { mayTouch } from '../auth.ts'
import { parseDomainName } from '../domains/name.ts'
import { problemAt } from '../problems.ts'
import type { Subject } from '../subject.ts'
import { type Address, toAddress } from './address.ts'
import type { Candidates, MailboxEnsure } from './create-schemas.ts'
import { unknownDomain } from './ground.ts'
import { type MailboxValues, parseMailboxValues } from './values.ts'

export const candidatePointer = (i: number) => `/name_candidates/${i}`

/** A body that names several addresses, the first free one of which is meant; parsed, and allowed by the scopes. */
export interface CandidatesRequest {
  /** All in one domain, the preferred one first. */
  candidates: Address[]
  body: MailboxEnsure
  password: NewPassword | 'none' | undefined
  person: PersonMembers
  values: MailboxValues
}

/** Judges everything that needs no look-up. */
export function readCandidatesRequest(
  subject: Subject,
  { domain, name_candidates }: Candidates,
  body: MailboxEnsure,
): CandidatesRequest {
  const candidates = parseCandidates(domain, name_candidates)
  if (!mayTouch(subject, candidates[0]!.domain)) throw unknownDomain('/domain')
  for (const [i, { name }] of candidates.entries())
    assertMayTakeName(subject, name, body.allow_role_name, candidatePointer(i))
  if (body.create_account === false) {
    const detail = 'A free name is one that no account has: name_candidates come with a new account.'
    throw problemAt('invalid-request', '/create_account', detail)
  }
  assertMayDeliver(subject, body)
  const person = parsePersonMembers(body.account ?? {}, '/account')
  const values = parseMailboxValues(body)
  return { candidates, body, password: readFirstPassword(body), person, values }
}

function parseCandidates(domain: string, names: string[]): Address[] {
  const domainName = parseDomainName(domain, '/domain')
  const candidates = names.map((text, i) => {
    const pointer = candidatePointer(i)
    return toAddress(parseName(text, pointer), domainName, pointer)
  })
  for (const [i, { name }] of candidates.entries()) {
    const first = candidates.findIndex((other) => other.name === name)
    if (first < i)
      throw problemAt(
        'invalid-request',
        candidatePointer(i),
        `is the same name as ${candidatePointer(first)}`,
      )
  }
  return candidates
}
