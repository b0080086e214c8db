import type { Subject } from '../subject.ts'
import { readDomainName } from './name.ts'

/** Of which domains a list shows things. One that is not the caller's, or cannot be one, is like one that has nothing. */
export function visibleDomains({ domains }: Subject, wanted: string | undefined): Subject['domains'] {
  if (wanted === undefined) return domains
  const outcome = readDomainName(wanted)
  if ('fault' in outcome) return []
  return domains === '*' || domains.includes(outcome.name) ? [outcome.name] : []
}
