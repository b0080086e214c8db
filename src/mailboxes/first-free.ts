import { deriveFor, type Prepared, requirePassword } from '../accounts/new-password.ts'
import { sealFor } from '../accounts/sealed-password.ts'
import type { Verifier } from '../accounts/verifiers.ts'
import { catalogue } from '../catalogue.ts'
import type { Authentication } from '../database.ts'
import { aliasDomainProblem } from '../domains/alias-domains.ts'
import type { Writer } from '../idempotency/once.ts'
import { type ProblemError, problem } from '../problems.ts'
import { noteTakenNames } from '../rate-limits/name-taken.ts'
import type { Subject } from '../subject.ts'
import type { Address } from './address.ts'
import { type CandidatesRequest, candidatePointer } from './candidates.ts'
import { derivationFor, newMailbox, type Provisioning } from './create.ts'
import {
  assertAccountCreatable,
  assertMayLackPassword,
  assertWithinLimit,
  authenticationFor,
  findCollision,
  type Ground,
  lookUpGrounds,
  unknownDomain,
  type Wish,
} from './ground.ts'
import { policyFor } from './password-policy.ts'
import { withForwarded } from './sending-on.ts'
import { type CreatedMailbox, isCollision, writeMailbox } from './write.ts'

export interface FirstFreeCreation<Made> {
  subject: Subject
  request: CandidatesRequest
  writer: Writer<CreatedMailbox, Made>
}

/** What a look-up of all the candidates found. */
interface Field extends Prepared {
  /** In their order. */
  free: Address[]
  authentication: Authentication
  limited: boolean
}

const rounds = 3

/**
 * Creates the mailbox under the first of the names that is free. Who loses a race for one goes on with the next, so
 * that callers with the same candidates take them without a gap; the password is derived once, for whatever name.
 */
export async function createFirstFree<Made>(
  { db, derivations }: Provisioning,
  wanted: FirstFreeCreation<Made>,
): Promise<Made> {
  const { subject } = wanted
  const values = await withForwarded(db, subject, wanted.request.values)
  const request = { ...wanted.request, values }
  const creation = { ...wanted, request }
  const lookUp = async () => judge(await lookUpGrounds(db, request.candidates), subject, request)
  if (!request.password) await lookUp() // a collision is told before the missing password
  const { prepared, verifiers } = await deriveFor(derivations, requirePassword(request.password), lookUp)
  const account = { authentication: prepared.authentication, verifiers }
  let field = prepared
  for (let round = 0; round < rounds; round++) {
    const made = await takeFirst(creation, field, account)
    if (made) return made
    field = await lookUp()
  }
  throw problem('busy', { detail: 'The names are taken and freed all the time.', retryAfterSeconds: 1 })
}

/** undefined where somebody else has got each of them meanwhile, or the domain is another than it was. */
async function takeFirst<Made>(
  { subject, request, writer }: FirstFreeCreation<Made>,
  { free, limited }: Field,
  account: { authentication: Authentication; verifiers: Verifier[] },
): Promise<Made | undefined> {
  for (const address of free) {
    const mailbox = newMailbox({ ...request, address }, account)
    const sealed = await sealFor(request.password, address.address)
    const made = await writeMailbox({ subject, writer }, { mailbox, limited, sealed }).catch(takenOnCollision)
    if (made === taken) continue
    if (made) noteTakenNames(request.candidates.indexOf(address)) // the answer tells that those before it are somebody's
    return made
  }
  return undefined
}

const taken = Symbol('taken')

function takenOnCollision(error: { constraint?: string }): typeof taken {
  if (isCollision(error)) return taken
  throw error
}

/** Throws what stands against the create, under whatever name. */
function judge(
  grounds: Ground[],
  subject: Subject,
  { candidates, body, password, person }: CandidatesRequest,
): Field {
  const [first] = grounds
  if (!first || first.domain === null) throw unknownDomain('/domain')
  if (first.alias_of !== null) throw aliasDomainProblem('/domain')
  const wishes = candidates.map((address, i): Wish => {
    const { authentication } = body
    return { address, pointer: candidatePointer(i), createAccount: true, authentication }
  })
  for (const [i, wish] of wishes.entries()) assertAccountCreatable(grounds[i]!, wish)
  const authentication = authenticationFor(first, wishes[0]!)
  assertMayLackPassword(authentication, password)
  const collisions = wishes.map((wish, i) => findCollision(grounds[i]!, wish, subject))
  const free = candidates.filter((_, i) => !collisions[i])
  if (free.length === 0) throw noneFree(collisions)
  assertWithinLimit(first.mailbox_limit, first.mailbox_count ?? 0)
  const derivation = derivationFor(first, wishes[0]!)
  const policy = policyFor(first, candidates, person)
  return { free, authentication, derivation, policy, limited: first.mailbox_limit !== null }
}

/** Says of each no more than the refusal of that one address would. */
function noneFree(collisions: (ProblemError | undefined)[]): ProblemError {
  const errors = collisions.flatMap((collision, i) => {
    if (!collision) return []
    const { code, conflict } = collision
    const { title } = catalogue[code]
    return [{ pointer: candidatePointer(i), detail: conflict ? `${title}: ${conflict.address}` : title }]
  })
  return problem('name-taken', { detail: 'None of the name_candidates is free. Send others.', errors })
}
